// SPDX-License-Identifier: Apache-2.0
// Single stories on the step loop, each the regression of a failure known from other engines: disconnects, cancels that
// must not touch a bystander, faults contained to one request, and every pair of sampling features.
#include <gtest/gtest.h>

#include "base/log.h"
#include "engine/script.h"
#include "simulation/simulated_client.h"

namespace autoglm::simulation {
namespace {

using engine::StepLoop;
using generation::FinishReason;
using generation::Request;

constexpr std::string_view kScript = "== end\n<|random:12|>\n==\n<|random:29|> <|repeat|>\n";

class StepLoopTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(base::set_log_level("off"));
    options_.scheduler.max_batch_size = 4;
    options_.scheduler.max_batch_tokens = 16;
    options_.scheduler.max_waiting = 64;
    options_.block_count = 40;
    start();
  }

  void start() { loop_ = std::make_unique<StepLoop>(faulty_, options_, clock_, metrics_); }

  static Request request(std::string_view text, std::size_t max_tokens, std::uint64_t seed = 1) {
    Request request;
    request.prompt.assign(text.begin(), text.end());
    request.prompt.push_back(engine::kReplyToken);
    request.max_tokens = max_tokens;
    request.sampling.seed = seed;
    return request;
  }

  engine::Sequence* submit(const Request& asked, std::shared_ptr<Recorder> recorder) {
    auto sequence = make_sequence(++last_ticket_, asked, std::move(recorder), model_, clock_.now());
    engine::Sequence* raw = sequence.get();
    loop_->add(std::move(sequence));
    return raw;
  }

  void step(int times = 1) {
    for (int i = 0; i < times; ++i) {
      loop_->step();
      loop_->scheduler().check_invariants();
    }
  }

  void run_to_end() {
    for (int i = 0; i < 10'000 && !loop_->scheduler().is_idle(); ++i) step();
    EXPECT_TRUE(loop_->scheduler().is_idle());
    EXPECT_EQ(loop_->scheduler().pool().used_count(), 0u);
  }

  std::string heard_alone(const Request& asked) {
    auto recorder = std::make_shared<Recorder>();
    submit(asked, recorder);
    run_to_end();
    return recorder->heard;
  }

  base::VirtualClock clock_;
  telemetry::Registry registry_;
  engine::EngineMetrics metrics_{registry_};
  engine::EngineModel model_ = engine::load_script(kScript).value();
  FaultyModel faulty_{*model_.network};
  engine::StepLoopOptions options_;
  std::unique_ptr<StepLoop> loop_;
  generation::Ticket last_ticket_ = 0;
};

TEST_F(StepLoopTest, AThousandDisconnectsFreeTheirBlocksWithinAStep) {
  base::Random random(3);
  for (int i = 0; i < 1000; ++i) {
    auto recorder = std::make_shared<Recorder>();
    engine::Sequence* sequence = submit(request(std::string(1 + random.below(60), 'q'), 50), recorder);
    step(static_cast<int>(random.below(12)));  // in the queue, in the prompt or in the answer
    if (recorder->finish_count == 0) sequence->is_cancel_requested = true;
    step();
    ASSERT_EQ(recorder->finish_count, 1) << i;
    ASSERT_EQ(loop_->scheduler().pool().used_count(), 0u) << i;
  }
}

TEST_F(StepLoopTest, CancellingOthersNeverTouchesABystander) {
  const Request asked = request("bystander", 100);
  const std::string expected = heard_alone(asked);
  auto bystander = std::make_shared<Recorder>();
  submit(asked, bystander);
  base::Random random(4);
  for (int i = 0; i < 60; ++i) {
    engine::Sequence* running = submit(request("running", 50, i), std::make_shared<Recorder>());
    engine::Sequence* queued = submit(request("queued", 50, i), std::make_shared<Recorder>());
    if (random.below(2) == 0) step();
    queued->is_cancel_requested = true;
    running->is_cancel_requested = true;
    step();
  }
  run_to_end();
  EXPECT_EQ(bystander->heard, expected);
}

TEST_F(StepLoopTest, AModelThatThrowsForOneRequestEndsThatOneOnly) {
  const Request asked = request("innocent", 40);
  const std::string expected = heard_alone(asked);
  auto innocent = std::make_shared<Recorder>();
  auto guilty = std::make_shared<Recorder>();
  submit(asked, innocent);
  step(5);
  Request poisoned = request("guilty", 40);
  poisoned.prompt[2] = FaultyModel::kThrowingToken;
  submit(poisoned, guilty);
  run_to_end();
  ASSERT_TRUE(guilty->finish && guilty->finish->error);
  EXPECT_EQ(guilty->finish->error->code, Code::kInternal);
  EXPECT_EQ(innocent->heard, expected);
  EXPECT_FALSE(innocent->finish->error.has_value());
}

TEST_F(StepLoopTest, AFaultThatNobodyCausedIsRepeatedUnnoticed) {
  const Request asked = request("patient", 40);
  const std::string expected = heard_alone(asked);
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (int i = 0; i < 3; ++i) submit(asked, recorders.emplace_back(std::make_shared<Recorder>()));
  for (int i = 0; i < 20; ++i) {
    faulty_.throws_once = true;
    step();
  }
  run_to_end();
  for (const auto& recorder : recorders) EXPECT_EQ(recorder->heard, expected);
}

class ThrowingSink final : public generation::Sink {
 public:
  void on_token(generation::TokenEvent) override { throw std::runtime_error("a sink must not throw"); }
  void on_finish(generation::Finish) override {
    ++finishes;
    throw std::runtime_error("nor here");
  }
  int finishes = 0;
};

TEST_F(StepLoopTest, ASinkThatThrowsEndsItsOwnRequest) {
  const Request asked = request("innocent", 40);
  const std::string expected = heard_alone(asked);
  auto innocent = std::make_shared<Recorder>();
  auto rude = std::make_shared<ThrowingSink>();
  submit(asked, innocent);
  loop_->add(make_sequence(++last_ticket_, request("rude", 40), rude, model_, clock_.now()));
  run_to_end();
  EXPECT_EQ(rude->finishes, 1);
  EXPECT_EQ(innocent->heard, expected);
}

TEST_F(StepLoopTest, TheDeadlineHoldsInTheQueueAndInTheAnswer) {
  options_.scheduler.max_batch_size = 1;
  start();
  Request late = request("late", 500);
  late.deadline = clock_.now() + std::chrono::seconds(1);
  auto running = std::make_shared<Recorder>();
  auto queued = std::make_shared<Recorder>();
  submit(late, running);
  submit(late, queued);
  step(10);
  EXPECT_EQ(running->finish_count + queued->finish_count, 0);
  clock_.advance(std::chrono::seconds(1));
  step();
  for (const auto& recorder : {running, queued}) {
    ASSERT_EQ(recorder->finish_count, 1);
    EXPECT_EQ(recorder->finish->error->code, Code::kDeadline);
  }
  EXPECT_FALSE(running->heard.empty());
  EXPECT_TRUE(queued->heard.empty());
}

TEST_F(StepLoopTest, LargerPriorityGoesFirstThenFirstCome) {
  options_.scheduler.max_batch_size = 1;
  start();
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (const int priority : {0, 1, 1, 0, 2}) {
    Request asked = request("x", 2);
    asked.priority = priority;
    submit(asked, recorders.emplace_back(std::make_shared<Recorder>()));
  }
  std::vector<std::size_t> order;
  for (int i = 0; i < 100 && order.size() < recorders.size(); ++i) {
    step();
    for (std::size_t k = 0; k < recorders.size(); ++k) {
      if (recorders[k]->finish_count == 1 && std::ranges::find(order, k) == order.end()) order.push_back(k);
    }
  }
  EXPECT_EQ(order, (std::vector<std::size_t>{4, 1, 2, 0, 3}));
}

TEST_F(StepLoopTest, ALonelyRequestWaitsForCompanyAtMostItsTime) {
  options_.scheduler.batch_timeout = std::chrono::milliseconds(50);
  start();
  auto recorder = std::make_shared<Recorder>();
  submit(request("end", 5), recorder);
  step(3);
  EXPECT_EQ(loop_->scheduler().running_count(), 0u);
  EXPECT_EQ(loop_->scheduler().next_wake(), clock_.now() + std::chrono::milliseconds(50));
  clock_.advance(std::chrono::milliseconds(50));
  step();
  EXPECT_EQ(loop_->scheduler().running_count(), 1u);
  run_to_end();
  for (int i = 0; i < 4; ++i) submit(request("end", 5), std::make_shared<Recorder>());
  step();
  EXPECT_EQ(loop_->scheduler().running_count(), 4u) << "a full batch waits for nobody";
}

TEST_F(StepLoopTest, DecodesGoFirstAndPromptsTakeWhatTheyLeave) {
  auto answering = std::make_shared<Recorder>();
  submit(request("short", 60), answering);
  step(2);
  const std::size_t before = answering->text.size();
  submit(request(std::string(200, 'p'), 5), std::make_shared<Recorder>());
  step(10);  // 201 prompt tokens at 15 a step take 14 steps
  EXPECT_EQ(answering->text.size(), before + 10) << "a token in every step";
}

// Every pair of values of two sampling features occurs in some request; each ends, and the engine lives on.
TEST_F(StepLoopTest, EveryPairOfFeaturesEndsAsItShould) {
  using Change = void (*)(Request&);
  const std::vector<Change> changes = {
      [](Request& r) { r.sampling.temperature = 0; },
      [](Request& r) { r.sampling.temperature = 2; },
      [](Request& r) { r.sampling.top_k = 1; },
      [](Request& r) { r.sampling.top_k = 1'000'000; },
      [](Request& r) { r.sampling.top_p = 0; },
      [](Request& r) { r.sampling.top_p = 0.5f; },
      [](Request& r) { r.sampling.min_p = 1; },
      [](Request& r) { r.sampling.repetition_penalty = 10; },
      [](Request& r) { r.sampling.repetition_penalty = 0.1f; },
      [](Request& r) { r.sampling.frequency_penalty = 2; },
      [](Request& r) { r.sampling.frequency_penalty = -2; },
      [](Request& r) { r.sampling.presence_penalty = 2; },
      [](Request& r) { r.sampling.logit_bias = {{'a', 100.0f}}; },
      [](Request& r) { r.sampling.logit_bias = {{'a', -100.0f}, {'b', -1.0f}}; },
      [](Request& r) { r.stop = {"e", "aa"}; },
      [](Request& r) { r.stop_tokens = {'b', engine::kEndToken}; },
      [](Request& r) { r.min_tokens = 20; },
      [](Request& r) { r.want_logprobs = true; },
      [](Request& r) { r.want_logprobs = true, r.top_logprobs = 20; },
      [](Request& r) { r.want_prompt_logprobs = true, r.top_logprobs = 5; },
      [](Request& r) { r.prompt_only = true; },
      [](Request& r) { r.prompt = {engine::kReplyToken}; },
      [](Request& r) { r.prompt.assign(70, 'e'); },
      [](Request& r) { r.max_tokens = 20; },
      [](Request& r) { r.keep_special_text = true; },
      [](Request& r) { r.priority = -5; },
  };
  std::size_t answers = 0;
  for (std::size_t a = 0; a < changes.size(); ++a) {
    for (std::size_t b = a + 1; b < changes.size(); ++b) {
      SCOPED_TRACE(std::to_string(a) + " with " + std::to_string(b));
      Request asked = request("end", 20, a * 100 + b);
      changes[a](asked);
      changes[b](asked);
      auto recorder = std::make_shared<Recorder>();
      submit(asked, recorder);
      for (int i = 0; i < 200 && recorder->finish_count == 0; ++i) step();
      ASSERT_EQ(recorder->finish_count, 1);
      EXPECT_FALSE(recorder->finish->error.has_value());
      ++answers;
    }
  }
  EXPECT_EQ(answers, changes.size() * (changes.size() - 1) / 2);
  EXPECT_EQ(loop_->scheduler().pool().used_count(), 0u);
}

}  // namespace
}  // namespace autoglm::simulation

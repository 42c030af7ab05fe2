// SPDX-License-Identifier: Apache-2.0
// Single stories on the step loop, each the regression of a failure known from other engines: disconnects, cancels that
// must not touch a bystander, deadlines, order, and every pair of sampling features.
#include "simulation/step_loop_fixture.h"

namespace autoglm::simulation {
namespace {

using generation::FinishReason;
using generation::Request;

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

// With tokens that a grammar forces in the middle of all that can end or shape an answer.
TEST_F(StepLoopTest, JumpingForwardIsHeardByNobody) {
  using Change = void (*)(Request&);
  const std::vector<Change> changes = {
      [](Request&) {},
      [](Request& r) { r.sampling.temperature = 0; },
      [](Request& r) { r.sampling.repetition_penalty = 1.5f; },
      [](Request& r) { r.sampling.logit_bias = {{'x', 3.0f}}; },
      [](Request& r) { r.stop = {"the answ"}; },
      [](Request& r) { r.stop = {"er, "}; },
      [](Request& r) { r.stop_tokens = {'w', engine::kEndToken}; },
      [](Request& r) { r.max_tokens = 9; },
      [](Request& r) { r.max_tokens = 1; },
      [](Request& r) { r.min_tokens = 30; },
      [](Request& r) { r.want_logprobs = true; },
      [](Request& r) { r.want_prompt_logprobs = true; },
  };
  const auto grammar = text::Grammar::from_lark(R"(start: ("yes" | "no") " is the answer, " /[a-z]/ " the name.")", {},
                                                model_.card.tokenizer);
  std::size_t steps[2] = {};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    std::shared_ptr<Recorder> heard[2];
    for (const bool jumps : {false, true}) {
      options_.has_jump_forward = jumps;
      start();
      Request asked = request("forced", 60, i);
      asked.grammar = grammar.value();
      changes[i](asked);
      heard[jumps] = std::make_shared<Recorder>();
      submit(asked, heard[jumps]);
      for (; !loop_->scheduler().is_idle(); ++steps[jumps]) step();
    }
    EXPECT_EQ(heard[0]->heard, heard[1]->heard) << i;
    EXPECT_EQ(heard[0]->finish->reason, heard[1]->finish->reason) << i;
    EXPECT_EQ(heard[0]->finish->usage.completion_tokens, heard[1]->finish->usage.completion_tokens) << i;
  }
  EXPECT_LT(steps[1] * 2, steps[0]);
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

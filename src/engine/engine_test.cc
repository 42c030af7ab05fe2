// SPDX-License-Identifier: Apache-2.0
// The engine's thread and its door, on the scripted model: answers, refusals, cancellation, deadlines, drain.
#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <span>
#include <thread>

#include "generation/collect.h"

namespace autoglm::engine {
namespace {

using generation::Answer;
using generation::CollectingSink;
using generation::FinishReason;
using generation::Request;

constexpr std::string_view kScript = R"(# Rules of these tests.
== weather*Paris
Sunny, 21 degrees.
== endless
again <|repeat|>
== dice
<|random:40|>
== <|user|>hi<|end|>
Hello!
)";

class EngineTest : public testing::Test {
 protected:
  void start(EngineOptions options = {}) {
    auto model = load_script(kScript);
    ASSERT_TRUE(model.has_value()) << model.error().message;
    auto engine = start_engine(std::move(*model), options, clock_, metrics_);
    ASSERT_TRUE(engine.has_value()) << engine.error().message;
    engine_ = std::move(*engine);
  }

  Request request(std::string_view user_text) const {
    const json::Array messages{json::Object{{"role", "user"}, {"content", user_text}}};
    text::ChatTemplate::Inputs inputs;
    inputs.messages = &messages;
    const text::RenderedPrompt prompt = engine_->card().chat_template->render(inputs).value();
    Request request;
    request.prompt = engine_->card().tokenizer->encode(prompt.text, {false, true, prompt.plain}).value();
    request.sampling.seed = 1;
    return request;
  }

  Answer answer(Request asked) { return generation::generate(*engine_, std::move(asked)).value(); }

  base::SystemClock clock_;
  telemetry::Registry metrics_{clock_};
  std::unique_ptr<generation::Generator> engine_;
};

TEST_F(EngineTest, AnswersByTheScript) {
  start();
  const Answer hello = answer(request("hi"));
  EXPECT_EQ(hello.text, "Hello!");
  EXPECT_EQ(hello.finish.reason, FinishReason::kStop);
  EXPECT_EQ(hello.tokens.size(), 6u);
  EXPECT_EQ(hello.finish.usage.completion_tokens, 6u);
  EXPECT_EQ(hello.finish.usage.prompt_tokens, 5u);
  EXPECT_EQ(answer(request("the weather in Paris?")).text, "Sunny, 21 degrees.");
  EXPECT_EQ(answer(request("what?")).text, "no rule of the script matches this prompt");
}

TEST_F(EngineTest, SpecialTextOfTheUserStaysText) {
  start();
  const Request asked = request("hi<|end|><|assistant|>");
  EXPECT_EQ(std::ranges::count_if(asked.prompt, [](generation::TokenId id) { return id >= 256; }), 3)
      << "user, end, assistant";
  EXPECT_EQ(asked.prompt.size(), 3 + std::string_view("hi<|end|><|assistant|>").size());
}

TEST_F(EngineTest, FillsInTheCard) {
  EngineOptions options;
  options.max_batch_size = 4;
  options.context_length = 100;
  start(options);
  EXPECT_EQ(engine_->card().context_length, 100u);
  EXPECT_EQ(engine_->card().max_batch_size, 4u);
  EXPECT_EQ(engine_->card().max_in_flight, 4u + 256);
  EXPECT_EQ(engine_->card().kv_tokens, 4u * 128) << "four contexts of 100 tokens, in blocks of 32";
  EXPECT_EQ(engine_->card().kv_bytes, 4u * 128 * sizeof(std::int32_t));
  EXPECT_TRUE(engine_->is_ready());
}

TEST_F(EngineTest, StopsAtMaxTokensAndAtTheContextsEnd) {
  EngineOptions options;
  options.context_length = 64;
  start(options);
  Request ten = request("endless");
  ten.max_tokens = 10;
  const Answer cut = answer(ten);
  EXPECT_EQ(cut.text, "again agai");
  EXPECT_EQ(cut.finish.reason, FinishReason::kLength);
  const Answer full = answer(request("endless"));
  EXPECT_EQ(full.finish.reason, FinishReason::kLength);
  EXPECT_EQ(full.finish.usage.prompt_tokens + full.finish.usage.completion_tokens, 64u);
}

TEST_F(EngineTest, StopStringsEndTheAnswerAndAreNotPartOfIt) {
  start();
  Request asked = request("weather in Paris");
  asked.stop = {"21 d", "degrees"};
  const Answer stopped = answer(asked);
  EXPECT_EQ(stopped.text, "Sunny, ");
  EXPECT_EQ(stopped.finish.reason, FinishReason::kStop);
  EXPECT_EQ(stopped.finish.usage.completion_tokens, 11u);
}

TEST_F(EngineTest, StopTokensMinTokensAndIgnoreEos) {
  start();
  Request stop = request("hi");
  stop.stop_tokens = {'o'};
  EXPECT_EQ(answer(stop).text, "Hell");
  Request longer = request("hi");
  longer.min_tokens = 9;
  longer.max_tokens = 20;
  EXPECT_GE(answer(longer).tokens.size(), 9u);
  Request on = request("hi");
  on.ignore_eos = true;
  on.keep_special_text = true;
  on.max_tokens = 8;
  EXPECT_EQ(answer(on).text, "Hello!<|end|><|end|>");
  on.keep_special_text = false;
  EXPECT_EQ(answer(on).text, "Hello!");
}

TEST_F(EngineTest, TheSameSeedGivesTheSameAnswerAndAnotherSeedAnother) {
  start();
  Request first = request("dice");
  Request second = request("dice");
  second.sampling.seed = 2;
  const std::string once = answer(first).text;
  EXPECT_EQ(once.size(), 40u);
  EXPECT_EQ(once, answer(first).text);
  EXPECT_NE(once, answer(second).text);
  first.sampling.seed.reset();
  EXPECT_NE(answer(first).text, answer(first).text) << "without a seed each request draws its own";
}

TEST_F(EngineTest, LogprobsComeWithTheToken) {
  start();
  Request asked = request("dice");
  asked.want_logprobs = true;
  asked.top_logprobs = 3;
  for (const generation::TokenEvent& event : answer(asked).tokens) {
    ASSERT_TRUE(event.logprob.has_value());
    EXPECT_EQ(event.logprob->token, event.token);
    ASSERT_EQ(event.top.size(), 3u);
    EXPECT_GE(event.top[0].logprob, event.top[1].logprob);
    EXPECT_GE(event.top[0].logprob, event.logprob->logprob);
    EXPECT_LT(event.logprob->logprob, 0);
  }
}

TEST_F(EngineTest, PromptLogprobsCoverEveryTokenButTheFirst) {
  EngineOptions options;
  options.max_batch_tokens = 40;  // the prompt takes several steps
  start(options);
  Request asked = request(std::string(200, 'x'));
  asked.want_prompt_logprobs = true;
  asked.top_logprobs = 2;
  asked.prompt_only = true;
  const Answer scored = answer(asked);
  ASSERT_EQ(scored.prompt_logprobs.size(), asked.prompt.size());
  EXPECT_FALSE(scored.prompt_logprobs[0].logprob.has_value());
  for (std::size_t i = 1; i < asked.prompt.size(); ++i) {
    EXPECT_EQ(scored.prompt_logprobs[i].token, asked.prompt[i]);
    ASSERT_TRUE(scored.prompt_logprobs[i].logprob.has_value()) << i;
    EXPECT_EQ(scored.prompt_logprobs[i].top.size(), 2u);
  }
  EXPECT_TRUE(scored.tokens.empty());
  EXPECT_EQ(scored.finish.reason, FinishReason::kLength);
}

TEST_F(EngineTest, PromptLogitsAreTheRowsThatTheLogprobsAreMadeOf) {
  // Keeps the rows, and how they came.
  class RowSink final : public generation::Sink {
   public:
    void on_prompt_logits(std::size_t position, std::span<const float> logits) override {
      EXPECT_EQ(position, rows.size());
      EXPECT_TRUE(scores.empty());
      rows.emplace_back(logits.begin(), logits.end());
    }
    void on_prompt_logprobs(std::vector<generation::TokenEvent> tokens) override { scores = std::move(tokens); }
    void on_token(generation::TokenEvent) override {}
    void on_finish(generation::Finish) override { is_finished.store(true); }
    std::vector<std::vector<float>> rows;
    std::vector<generation::TokenEvent> scores;
    std::atomic<bool> is_finished = false;
  };
  EngineOptions options;
  options.max_batch_tokens = 40;  // the prompt takes several steps
  start(options);
  Request asked = request(std::string(100, 'x'));
  asked.want_prompt_logprobs = asked.want_prompt_logits = true;
  asked.prompt_only = true;
  const auto sink = std::make_shared<RowSink>();
  ASSERT_TRUE(engine_->submit(asked, sink));
  while (!sink->is_finished.load()) std::this_thread::yield();
  ASSERT_EQ(sink->rows.size() + 1, asked.prompt.size());
  for (std::size_t i = 0; i < sink->rows.size(); ++i) {
    const std::vector<float>& row = sink->rows[i];
    ASSERT_EQ(row.size(), engine_->card().tokenizer->vocab());
    double sum = 0;
    for (const float logit : row) sum += std::exp(static_cast<double>(logit));
    const auto token = static_cast<std::size_t>(asked.prompt[i + 1]);
    const double logprob = static_cast<double>(row[token]) - std::log(sum);
    EXPECT_NEAR(static_cast<double>(sink->scores[i + 1].logprob->logprob), logprob, 1e-4) << i;
  }
}

TEST_F(EngineTest, TheTokenThatEndsAnAnswerIsScoredButNotPartOfIt) {
  start();
  Request asked = request("hi");
  EXPECT_FALSE(answer(asked).finish.end_token.has_value());
  asked.want_logprobs = true;
  asked.top_logprobs = 2;
  const Answer scored = answer(asked);
  EXPECT_EQ(scored.text, "Hello!");
  EXPECT_EQ(scored.tokens.size(), 6u);
  ASSERT_TRUE(scored.finish.end_token.has_value());
  EXPECT_EQ(scored.finish.end_token->token, engine_->card().tokenizer->eos().front());
  EXPECT_NEAR(static_cast<double>(scored.finish.end_token->logprob->logprob), 0, 1e-3);
  EXPECT_EQ(scored.finish.end_token->top.size(), 2u);
  asked.max_tokens = 6;
  EXPECT_FALSE(answer(asked).finish.end_token.has_value()) << "ended by its length";
}

TEST_F(EngineTest, RefusesWhatCannotBeServed) {
  EngineOptions options;
  options.context_length = 32;
  start(options);
  auto sink = std::make_shared<CollectingSink>();
  const auto code_of = [&](Request asked) {
    const auto ticket = engine_->submit(std::move(asked), sink);
    return ticket ? Code::kInternal : ticket.error().code;
  };
  EXPECT_EQ(code_of(Request{}), Code::kInvalidArgument);
  EXPECT_EQ(code_of(request(std::string(100, 'x'))), Code::kInvalidArgument);
  Request hot = request("hi");
  hot.sampling.temperature = -1;
  EXPECT_EQ(code_of(hot), Code::kInvalidArgument);
  Request greedy = request("hi");
  greedy.max_tokens = 100;
  const auto refused = engine_->submit(greedy, sink);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, testing::AllOf(testing::HasSubstr("100"), testing::HasSubstr("32")));
  EXPECT_EQ(sink->finish_count(), 0);
  EXPECT_EQ(engine_->in_flight(), 0u);
}

TEST_F(EngineTest, AFullQueueRefusesAndServesAgainWhenThereIsRoom) {
  EngineOptions options;
  options.max_batch_size = 1;
  options.queue_capacity = 2;
  start(options);
  std::vector<std::shared_ptr<CollectingSink>> sinks;
  std::vector<generation::Ticket> tickets;
  for (int i = 0; i < 3; ++i) {
    sinks.push_back(std::make_shared<CollectingSink>());
    tickets.push_back(engine_->submit(request("endless"), sinks.back()).value());
  }
  const auto refused = engine_->submit(request("hi"), std::make_shared<CollectingSink>());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kExhausted);
  for (const auto ticket : tickets) engine_->cancel(ticket);
  for (const auto& sink : sinks) EXPECT_EQ(sink->wait().finish.reason, FinishReason::kCancelled);
  EXPECT_EQ(answer(request("hi")).text, "Hello!");
}

TEST_F(EngineTest, CancelReachesAWaitingAndARunningRequestAndNoOther) {
  EngineOptions options;
  options.max_batch_size = 2;
  start(options);
  auto bystander = std::make_shared<CollectingSink>();
  auto running = std::make_shared<CollectingSink>();
  auto waiting = std::make_shared<CollectingSink>();
  Request ten_thousand = request("dice endless");  // the script's first match is "endless"
  ten_thousand.max_tokens = 3000;
  engine_->submit(ten_thousand, bystander).value();
  const auto running_ticket = engine_->submit(request("endless"), running).value();
  const auto waiting_ticket = engine_->submit(request("endless"), waiting).value();
  engine_->cancel(waiting_ticket);
  EXPECT_EQ(waiting->wait().finish.error->code, Code::kCancelled);
  engine_->cancel(running_ticket);
  EXPECT_EQ(running->wait().finish.reason, FinishReason::kCancelled);
  engine_->cancel(running_ticket);  // late and unknown tickets are ignored
  engine_->cancel(987654321);
  const Answer whole = bystander->wait();
  EXPECT_EQ(whole.finish.reason, FinishReason::kLength);
  EXPECT_EQ(whole.tokens.size(), 3000u);
  EXPECT_EQ(running->finish_count(), 1);
}

TEST_F(EngineTest, ADeadlineEndsARequestThatWaitsForCompany) {
  EngineOptions options;
  options.batch_timeout = std::chrono::hours(1);
  start(options);
  Request late = request("hi");
  late.deadline = clock_.now() + std::chrono::milliseconds(5);
  auto sink = std::make_shared<CollectingSink>();
  engine_->submit(late, sink).value();
  const Answer ended = sink->wait();
  EXPECT_EQ(ended.finish.reason, FinishReason::kError);
  EXPECT_EQ(ended.finish.error->code, Code::kDeadline);
}

TEST_F(EngineTest, DrainRefusesNewRequestsAndLetsOldOnesEnd) {
  start();
  auto sink = std::make_shared<CollectingSink>();
  Request asked = request("endless");
  asked.max_tokens = 500;
  engine_->submit(asked, sink).value();
  engine_->drain();
  EXPECT_FALSE(engine_->is_ready());
  const auto refused = engine_->submit(request("hi"), std::make_shared<CollectingSink>());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnavailable);
  EXPECT_EQ(sink->wait().tokens.size(), 500u);
  EXPECT_EQ(engine_->in_flight(), 0u);
}

TEST_F(EngineTest, StoppingEndsEveryRequestOnce) {
  EngineOptions options;
  options.max_batch_size = 2;
  start(options);
  std::vector<std::shared_ptr<CollectingSink>> sinks;
  for (int i = 0; i < 5; ++i) {
    sinks.push_back(std::make_shared<CollectingSink>());
    engine_->submit(request("endless"), sinks.back()).value();
  }
  engine_.reset();
  for (const auto& sink : sinks) {
    EXPECT_EQ(sink->finish_count(), 1);
    EXPECT_EQ(sink->wait().finish.reason, FinishReason::kCancelled);
  }
}

TEST_F(EngineTest, ManyThreadsMaySubmitAndCancel) {
  EngineOptions options;
  options.max_batch_size = 8;
  start(options);
  const std::string expected = answer(request("dice")).text;
  std::vector<std::jthread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        engine_->cancel(engine_->submit(request("endless"), std::make_shared<CollectingSink>()).value());
        right += answer(request("dice")).text == expected ? 1 : 0;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(right, 80);
}

TEST_F(EngineTest, CountsWhatItDid) {
  start();
  answer(request("hi"));
  engine_.reset();
  const std::string text = metrics_.expose();
  EXPECT_THAT(text, testing::HasSubstr("openautoglm_generated_tokens_total 6\n"));
  EXPECT_THAT(text, testing::HasSubstr("openautoglm_prompt_tokens_total 5\n"));
  EXPECT_THAT(text, testing::HasSubstr("openautoglm_requests_finished_total{reason=\"stop\"} 1\n"));
  EXPECT_THAT(text, testing::HasSubstr("openautoglm_kv_blocks_used 0\n"));
  EXPECT_THAT(text, testing::HasSubstr("openautoglm_time_to_first_token_seconds_count 1\n"));
}

TEST(StartEngine, RefusesOptionsOutOfRange) {
  base::SystemClock clock;
  telemetry::Registry metrics(clock);
  const auto code_of = [&](const EngineOptions& options) {
    auto engine = start_engine(load_script(kScript).value(), options, clock, metrics);
    return engine ? Code::kInternal : engine.error().code;
  };
  EXPECT_EQ(code_of({.max_batch_size = 0}), Code::kInvalidArgument);
  EXPECT_EQ(code_of({.max_batch_size = 4097}), Code::kInvalidArgument);
  EXPECT_EQ(code_of({.max_batch_tokens = 0}), Code::kInvalidArgument);
  EXPECT_EQ(code_of({.queue_capacity = 0}), Code::kInvalidArgument);
  EXPECT_EQ(code_of({.context_length = 40000}), Code::kInvalidArgument);
  EXPECT_EQ(code_of({.kv_bytes = 100}), Code::kExhausted) << "a block has 128 bytes";
}

// A model whose KV no machine holds; it is refused before it is asked for anything.
class HugeModel final : public model::LanguageModel {
 public:
  std::size_t vocab() const override { return 300; }
  std::size_t context_length() const override { return 1024; }
  std::size_t kv_bytes_per_block() const override { return std::size_t{1} << 50; }
  void reserve(std::size_t, std::size_t, std::size_t) override { ADD_FAILURE(); }
  void copy_block(std::uint32_t, std::uint32_t) override { ADD_FAILURE(); }
  model::Logits forward(const model::Batch&) override { return {}; }
};

TEST(StartEngine, RefusesMoreMemoryThanThereIs) {
  base::SystemClock clock;
  telemetry::Registry metrics(clock);
  EngineModel model = load_script(kScript).value();
  model.network = std::make_unique<HugeModel>();
  const auto engine = start_engine(std::move(model), {.kv_bytes = std::size_t{1} << 60}, clock, metrics);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, Code::kExhausted);
  EXPECT_THAT(engine.error().message, testing::HasSubstr("bytes of memory are left"));
}

TEST(StartEngine, ASequenceIsNoLongerThanTheMemoryForItsKv) {
  base::SystemClock clock;
  telemetry::Registry metrics(clock);
  const auto engine =
      start_engine(load_script(kScript).value(), {.context_length = 512, .kv_bytes = 256}, clock, metrics);
  ASSERT_TRUE(engine);
  EXPECT_EQ((*engine)->card().context_length, 2 * kBlockTokens);
}

TEST(DefaultKvBytes, IsFullContextsAtMostAndOneBlockAtLeast) {
  const EngineModel model = load_script(kScript).value();
  EXPECT_EQ(default_kv_bytes(*model.network, {.max_batch_size = 3, .context_length = 33}), 3u * 2 * 128);
  const std::size_t most = default_kv_bytes(*model.network, {.max_batch_size = 4096, .context_length = 1ull << 60});
  EXPECT_GE(most, 128u);
  EXPECT_LT(most, 1ull << 50);
}

}  // namespace
}  // namespace autoglm::engine

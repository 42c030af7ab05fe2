// SPDX-License-Identifier: Apache-2.0
// The clients on the scripted model, and the arithmetic of what they measured.
#include "app/closed_load.h"

#include <gtest/gtest.h>

#include <numeric>
#include <utility>

#include "engine/engine.h"

namespace autoglm::app {
namespace {

class ClosedLoad : public testing::Test {
 protected:
  void start(std::string_view script, std::size_t max_batch_size) {
    auto model = engine::load_script(script);
    ASSERT_TRUE(model) << model.error().message;
    engine::EngineOptions options;
    options.max_batch_size = max_batch_size;
    options.queue_capacity = 4;
    auto started = engine::start_engine(std::move(*model), options, clock_, metrics_);
    ASSERT_TRUE(started) << started.error().message;
    generator_ = std::move(*started);
  }

  base::SystemClock clock_;
  telemetry::Registry metrics_{clock_};
  std::unique_ptr<generation::Generator> generator_;
};

TEST_F(ClosedLoad, EveryClientAsksAgainAndTheFirstRoundDoesNotCount) {
  start("==\nagain <|repeat|>\n", 2);
  const LoadPlan plan{.clients = 3, .requests = 2, .prompt_tokens = 8, .answer_tokens = 5};
  std::size_t calls = 0;
  const auto result = measure_closed_load(*generator_, plan, clock_, [&](std::size_t done, std::size_t total) {
    EXPECT_EQ(done, ++calls);
    EXPECT_EQ(total, 9u);
  });
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(calls, 9u);
  EXPECT_EQ(result->seconds.size(), 6u);
  EXPECT_GT(result->mean(), 0);
  EXPECT_GT(result->requests_per_second(), 0);
  EXPECT_EQ(generator_->in_flight(), 0u);
}

TEST_F(ClosedLoad, ARefusedRequestEndsTheMeasurement) {
  start("==\nagain <|repeat|>\n", 1);
  const LoadPlan plan{.clients = 2, .requests = 1, .prompt_tokens = 1 << 20, .answer_tokens = 5};
  const auto result = measure_closed_load(*generator_, plan, clock_, {});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kInvalidArgument);
}

// Ends every answer with its first token.
class ShortAnswers final : public generation::Generator {
 public:
  ShortAnswers() { card_.tokenizer = text::Tokenizer::ids_only(10); }
  const generation::ModelCard& card() const override { return card_; }
  Result<generation::Ticket> submit(generation::Request, std::shared_ptr<generation::Sink> sink) override {
    sink->on_token({});
    sink->on_finish({});
    return 1;
  }
  void cancel(generation::Ticket) override {}
  bool is_ready() const override { return true; }
  void drain() override {}
  std::size_t in_flight() const override { return 0; }

 private:
  generation::ModelCard card_;
};

TEST_F(ClosedLoad, AnAnswerThatEndsEarlyIsNoResult) {
  ShortAnswers generator;
  LoadPlan plan{.clients = 2, .requests = 1, .prompt_tokens = 4, .answer_tokens = 2};
  const auto result = measure_closed_load(generator, plan, clock_, {});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kInternal);
  plan.answer_tokens = 1;
  EXPECT_TRUE(measure_closed_load(generator, plan, clock_, {}));
}

TEST(LoadResult, PercentilesAreLatenciesThatOccurred) {
  LoadResult result;
  result.seconds.resize(200);
  std::iota(result.seconds.rbegin(), result.seconds.rend(), 1.0);  // 200 .. 1
  result.span_seconds = 50;
  EXPECT_EQ(result.percentile(0.5), 100);
  EXPECT_EQ(result.percentile(0.99), 198);
  EXPECT_EQ(result.percentile(0), 1);
  EXPECT_EQ(result.percentile(1), 200);
  EXPECT_DOUBLE_EQ(result.mean(), 100.5);
  EXPECT_DOUBLE_EQ(result.requests_per_second(), 4);
  EXPECT_EQ(LoadResult{}.percentile(0.5), 0);
  EXPECT_EQ(LoadResult{}.mean(), 0);
}

}  // namespace
}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
// Stories of the prefix cache on the step loop: what is found again, by whom, and that it never changes an answer. The
// scripted model's letters depend on every token before them, so a wrong block would be heard.
#include <gtest/gtest.h>

#include "engine/script.h"
#include "simulation/simulated_client.h"

namespace autoglm::simulation {
namespace {

using engine::StepLoop;
using generation::Request;

constexpr std::string_view kScript = "==\n<|random:200|>\n";
constexpr std::size_t kBlockTokens = kernels::KvLayer::kBlockTokens;

class PrefixReuse : public testing::Test {
 protected:
  void SetUp() override {
    options_.scheduler.max_batch_size = 4;
    options_.scheduler.max_batch_tokens = 64;
    options_.scheduler.max_waiting = 64;
    options_.block_count = 64;
    start();
  }

  void start() {
    model_ = engine::load_script(kScript).value();
    loop_ = std::make_unique<StepLoop>(*model_.network, options_, clock_, metrics_);
  }

  static Request request(std::size_t prompt_tokens, std::size_t max_tokens, int first = 0) {
    Request request;
    for (std::size_t i = 0; i + 1 < prompt_tokens; ++i) {
      request.prompt.push_back(static_cast<int>('a' + (first + i * i) % 26));
    }
    request.prompt.push_back(engine::kReplyToken);
    request.max_tokens = max_tokens;
    request.sampling.seed = 9;
    return request;
  }

  std::shared_ptr<Recorder> submit(const Request& asked) {
    auto recorder = std::make_shared<Recorder>();
    loop_->add(make_sequence(++last_ticket_, asked, recorder, model_, clock_.now()));
    return recorder;
  }

  void step(int times = 1) {
    for (int i = 0; i < times; ++i) {
      loop_->step();
      loop_->scheduler().check_invariants();
    }
  }

  std::shared_ptr<Recorder> run(const Request& asked) {
    auto recorder = submit(asked);
    for (int i = 0; i < 10'000 && !loop_->scheduler().is_idle(); ++i) step();
    EXPECT_EQ(recorder->finish_count, 1);
    EXPECT_EQ(loop_->scheduler().pool().used_count(), 0u);
    return recorder;
  }

  static std::size_t cached(const Recorder& recorder) { return recorder.finish->usage.cached_tokens; }

  /// What follows in the conversation: the prompt, the answer, and something new.
  static Request next_turn(const Request& before, const Recorder& answer, std::size_t more) {
    Request next = before;
    next.prompt.insert(next.prompt.end(), answer.text.begin(), answer.text.end());
    for (std::size_t i = 0; i < more; ++i) next.prompt.push_back('-');
    next.prompt.push_back(engine::kReplyToken);
    return next;
  }

  base::VirtualClock clock_;
  telemetry::Registry registry_{clock_};
  engine::EngineMetrics metrics_{registry_};
  engine::EngineModel model_;
  engine::StepLoopOptions options_;
  std::unique_ptr<StepLoop> loop_;
  generation::Ticket last_ticket_ = 0;
};

TEST_F(PrefixReuse, AllButTheLastTokenOfARepeatedPromptIsFound) {
  for (const std::size_t tokens : {1u, 2u, 31u, 32u, 33u, 64u, 65u, 100u}) {
    start();
    const Request asked = request(tokens, 20);
    const auto first = run(asked);
    const auto second = run(asked);
    EXPECT_EQ(cached(*first), 0u);
    EXPECT_EQ(cached(*second), tokens - 1);
    EXPECT_EQ(second->heard, first->heard) << tokens;
  }
}

TEST_F(PrefixReuse, TheNextTurnFindsPromptAndAnswer) {
  Request asked = request(70, 45);
  auto answer = run(asked);
  for (int turn = 0; turn < 5; ++turn) {
    const std::size_t before = asked.prompt.size() + answer->text.size();
    asked = next_turn(asked, *answer, 9);
    answer = run(asked);
    // The last token of the answer was sampled and never computed.
    EXPECT_EQ(cached(*answer), before - 1) << turn;
    options_.scheduler.has_prefix_cache = false;
    auto with = std::exchange(loop_, nullptr);
    auto kept = std::move(model_);
    start();
    EXPECT_EQ(run(asked)->heard, answer->heard) << turn;
    loop_ = std::move(with);
    model_ = std::move(kept);
  }
}

TEST_F(PrefixReuse, TwoThatAskTheSameAtOnceEndUpWithOneCopy) {
  const Request asked = request(100, 60);
  const auto first = submit(asked);
  const auto second = submit(asked);
  step(30);
  ASSERT_EQ(first->finish_count + second->finish_count, 0);
  EXPECT_LE(loop_->scheduler().pool().used_count(), 3u + 2 * 2u) << "three whole blocks of the prompt are shared";
  run(request(1, 1));
  EXPECT_EQ(first->heard, second->heard);
}

TEST_F(PrefixReuse, NoTenantFindsWhatAnotherOneComputed) {
  Request asked = request(100, 5);
  asked.tenant = "one";
  run(asked);
  asked.tenant = "two";
  EXPECT_EQ(cached(*run(asked)), 0u);
  asked.tenant = "one";
  EXPECT_EQ(cached(*run(asked)), 99u);
}

TEST_F(PrefixReuse, OffMeansOff) {
  options_.scheduler.has_prefix_cache = false;
  start();
  const Request asked = request(100, 5);
  run(asked);
  EXPECT_EQ(cached(*run(asked)), 0u);
  EXPECT_EQ(loop_->scheduler().pool().cached_count(), 0u);
}

TEST_F(PrefixReuse, WhatWasUsedLongestAgoGoesFirst) {
  options_.block_count = 12;  // three prompts of four blocks
  start();
  const Request one = request(100, 20, 1), two = request(100, 20, 2), three = request(100, 20, 3);
  run(one);
  run(two);
  run(one);
  run(three);
  run(request(60, 20, 4));  // two blocks: of the one that was left first
  EXPECT_EQ(cached(*run(one)), 99u);
  EXPECT_LT(cached(*run(two)), 99u);
}

TEST_F(PrefixReuse, AnEndIsForgottenBeforeItsBeginning) {
  options_.block_count = 6;
  start();
  run(request(150, 10, 1));  // five blocks
  run(request(60, 10, 2));   // needs three: one is free, two come from the end of the first
  EXPECT_GE(cached(*run(request(150, 10, 1))), 2 * kBlockTokens);
}

TEST_F(PrefixReuse, ScoredPromptsAreComputedAnew) {
  Request asked = request(100, 5);
  const auto plain = run(asked);
  asked.want_prompt_logprobs = true;
  asked.want_logprobs = true;
  const auto first = run(asked);
  const auto second = run(asked);
  EXPECT_EQ(cached(*first), 0u);
  EXPECT_EQ(first->heard, second->heard);
  EXPECT_EQ(first->text, plain->text);
}

// A prompt of which one row is left looks like a decode: it must still be counted as a prompt's row.
TEST_F(PrefixReuse, ManyKnownPromptsStartWithinTheRowsOfAStep) {
  options_.scheduler.max_batch_size = 8;
  options_.scheduler.max_batch_tokens = 3;
  start();
  const Request asked = request(65, 3);
  const auto first = run(asked);
  std::vector<std::shared_ptr<Recorder>> all;
  for (int i = 0; i < 8; ++i) all.push_back(submit(asked));
  run(request(1, 1));
  for (const auto& recorder : all) EXPECT_EQ(recorder->heard, first->heard);
}

}  // namespace
}  // namespace autoglm::simulation

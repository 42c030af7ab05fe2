// SPDX-License-Identifier: Apache-2.0
// Who runs, with how many rows, and who holds which blocks: one plan at a time, without a model. That all of it holds
// together over a thousand seeds is proved in tests/simulation.
#include "engine/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "engine/engine.h"

namespace autoglm::engine {
namespace {

using generation::FinishReason;
using testing::ElementsAre;
using testing::Pair;

class Ears final : public generation::Sink {
 public:
  void on_token(generation::TokenEvent event) override { tokens.push_back(event.token); }
  void on_finish(generation::Finish ended) override {
    ++finishes;
    finish = std::move(ended);
  }
  std::vector<TokenId> tokens;
  int finishes = 0;
  generation::Finish finish;
};

class SchedulerTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.max_batch_size = 4;
    options_.max_batch_tokens = 64;
    options_.max_waiting = 16;
    options_.has_prefix_cache = false;  // all prompts are alike here; what is reused has stories of its own
    start(16);
  }

  void start(std::size_t block_count) {
    scheduler_ = std::make_unique<Scheduler>(options_, block_count, metrics_);
    sequences_.clear();
  }

  // Tickets rise from 1.
  Sequence& add(std::size_t prompt, std::size_t answer, generation::Request request = {}) {
    request.prompt.assign(prompt, 'p');
    request.max_tokens = answer;
    SamplingState state(request, {kEnd}, 0, 256, answer, nullptr);
    const generation::Ticket ticket = sequences_.size() + 1;
    auto sequence = std::make_unique<Sequence>(ticket, request, std::make_shared<Ears>(), std::move(state), answer,
                                               *script_.card.tokenizer, now_);
    sequences_.push_back(sequence.get());
    scheduler_->add(std::move(sequence));
    return *sequences_.back();
  }

  static std::shared_ptr<Ears> ears(const Sequence& sequence) { return std::static_pointer_cast<Ears>(sequence.sink); }

  /// Plans, and answers for each sequence that samples. Rows by ticket.
  std::map<generation::Ticket, std::size_t> step(const std::vector<TokenId>& says = {'x'}) {
    const StepPlan& plan = scheduler_->plan(now_);
    std::map<generation::Ticket, std::size_t> rows;
    std::vector<SampledToken> tokens;
    for (const TokenId token : says) tokens.push_back({token, 0, {}});
    const std::vector<SampledToken> scores(plan.batch.logit_rows.size());
    std::vector<SampledSequence> sampled(plan.sequences.size());
    for (std::size_t i = 0; i < sampled.size(); ++i) {
      const PlannedSequence& planned = plan.sequences[i];
      rows[planned.sequence->ticket] = planned.rows;
      sampled[i].scored = std::span(scores).first(planned.scored);
      if (planned.samples) sampled[i].tokens = tokens;
    }
    scheduler_->commit(plan, sampled, now_);
    scheduler_->check_invariants();
    return rows;
  }

  double count_of(const std::string& counter) const {
    const std::string text = registry_.expose();
    const std::string key = "\n" + counter + " ";
    return std::atof(text.c_str() + text.find(key) + key.size());
  }

  std::size_t used() const { return scheduler_->pool().used_count(); }

  static constexpr TokenId kEnd = 0;
  SchedulerOptions options_;
  base::Time now_{};
  base::VirtualClock clock_;
  telemetry::Registry registry_{clock_};
  EngineMetrics metrics_{registry_};
  EngineModel script_ = load_script("==\nx").value();
  std::unique_ptr<Scheduler> scheduler_;
  std::vector<Sequence*> sequences_;
};

TEST_F(SchedulerTest, ABlockIsTakenWhenItsFirstTokenIsDue) {
  add(32, 40);
  step();
  EXPECT_EQ(used(), 1u) << "32 tokens fill one block";
  step();
  EXPECT_EQ(used(), 2u) << "and the 33rd begins another";
  for (int i = 0; i < 31; ++i) step();
  EXPECT_EQ(used(), 2u);
  step();
  EXPECT_EQ(used(), 3u);
}

TEST_F(SchedulerTest, TheLastTokenOfAnAnswerTakesNoBlock) {
  start(2);
  Sequence& exact = add(60, 5);  // 64 tokens have KV: both blocks; the 65th is never fed back
  const auto heard = ears(exact);
  for (int i = 0; i < 5; ++i) step();
  EXPECT_EQ(heard->finishes, 1);
  EXPECT_EQ(heard->finish.reason, FinishReason::kLength);
  EXPECT_EQ(heard->tokens.size(), 5u);
  EXPECT_EQ(used(), 0u);
}

// Their keys turn by different ropes.
TEST_F(SchedulerTest, WhatMayGrowLongIsToldAndSharesNoKeysWithWhatStaysShort) {
  options_.has_prefix_cache = true;
  options_.short_context = 44;
  start(16);
  const std::pair<std::size_t, std::size_t> rows_of_answers[] = {{4, 40}, {5, 40}, {4, 1}, {5, 1}};
  for (const auto& [answer, rows] : rows_of_answers) {
    add(40, answer);  // 44 tokens are short, 45 are long
    const StepPlan& plan = scheduler_->plan(now_);
    ASSERT_EQ(plan.batch.sequences.size(), 1u);
    EXPECT_EQ(plan.batch.sequences[0].rows, rows) << "all of the prompt, or what its own kind has not computed before";
    EXPECT_EQ(plan.batch.sequences[0].is_long, answer == 5);
    EXPECT_EQ(scheduler_->plan_alone(0).batch.sequences[0].is_long, answer == 5);
    const SampledToken token{'x', 0, {}};
    SampledSequence sampled;
    sampled.tokens = {&token, 1};
    scheduler_->commit(plan, {&sampled, 1}, now_);
    while (!scheduler_->is_idle()) step();
  }
}

TEST_F(SchedulerTest, PromptsAreCutToTheChunkAndToTheStep) {
  add(150, 1);
  EXPECT_THAT(step(), ElementsAre(Pair(1, 64)));
  EXPECT_THAT(step(), ElementsAre(Pair(1, 64)));
  add(10, 1);
  add(100, 1);
  EXPECT_THAT(step(), ElementsAre(Pair(1, 22), Pair(2, 10), Pair(3, 32))) << "64 rows in order";
  options_.max_prefill_chunk = 7;
  start(16);
  add(20, 1);
  add(8, 1);
  EXPECT_THAT(step(), ElementsAre(Pair(1, 7), Pair(2, 7)));
  EXPECT_THAT(step(), ElementsAre(Pair(1, 7), Pair(2, 1)));
  EXPECT_THAT(step(), ElementsAre(Pair(1, 6)));
}

TEST_F(SchedulerTest, TheBatchHoldsAtMostItsSize) {
  for (int i = 0; i < 6; ++i) add(1, 2);
  EXPECT_THAT(step(), ElementsAre(Pair(1, 1), Pair(2, 1), Pair(3, 1), Pair(4, 1)));
  EXPECT_EQ(scheduler_->waiting_count(), 2u);
  step();
  EXPECT_THAT(step(), ElementsAre(Pair(5, 1), Pair(6, 1)));
}

TEST_F(SchedulerTest, DecodesTakeTurnsWhenAStepHasTooFewRowsAndPromptsKeepOne) {
  options_.max_batch_tokens = 3;
  start(16);
  for (int i = 0; i < 4; ++i) add(1, 100);
  step();
  step();  // all four decode
  std::map<generation::Ticket, std::size_t> turns;
  for (int i = 0; i < 40; ++i) {
    const auto rows = step();
    EXPECT_EQ(rows.size(), 3u);
    for (const auto& [ticket, count] : rows) turns[ticket] += count;
  }
  EXPECT_THAT(turns, ElementsAre(Pair(1, 30), Pair(2, 30), Pair(3, 30), Pair(4, 30)));

  options_.max_batch_size = 5;
  start(16);
  for (int i = 0; i < 4; ++i) add(1, 100);
  step();
  step();
  add(5, 1);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(step().count(5), 1u) << "a row of the prompt in every step";
  EXPECT_EQ(scheduler_->running_count(), 4u);
}

TEST_F(SchedulerTest, TheNewestLosesItsBlocksAndNothingElse) {
  options_.max_batch_tokens = 128;
  options_.growth_blocks = 0;
  start(4);
  Sequence& oldest = add(31, 60);
  Sequence& middle = add(31, 60);
  Sequence& newest = add(40, 60);
  step();
  EXPECT_EQ(used(), 4u);
  step();
  const std::vector<TokenId> kept = newest.tokens;
  EXPECT_EQ(kept.size(), 42u);
  EXPECT_THAT(step(), ElementsAre(Pair(1, 1), Pair(2, 1))) << "both need a second block, the newest had two";
  EXPECT_EQ(count_of("openautoglm_preemptions_total"), 1);
  EXPECT_EQ(scheduler_->waiting_count(), 1u);
  EXPECT_EQ(newest.tokens, kept);
  EXPECT_EQ(newest.computed, 0u);
  EXPECT_TRUE(newest.blocks.empty());
  EXPECT_EQ(oldest.blocks.size(), 2u);
  add(1, 1);
  step();
  EXPECT_EQ(scheduler_->waiting_count(), 2u) << "who comes later waits behind it";
  middle.is_cancel_requested = true;
  scheduler_->expire(now_);
  EXPECT_THAT(step(), ElementsAre(Pair(1, 1), Pair(3, 42))) << "prompt and answer as one prompt";
  EXPECT_EQ(ears(newest)->tokens.size(), 3u) << "nothing is said twice";
  EXPECT_EQ(count_of("openautoglm_recomputed_tokens_total"), 41) << "all but the token whose turn it is";
}

TEST_F(SchedulerTest, TheNewestWaitsWithItsBlocksForOlderOnes) {
  options_.max_batch_tokens = 128;
  options_.growth_blocks = 0;
  start(3);
  add(31, 3);
  add(63, 3);
  step();
  EXPECT_EQ(used(), 3u);
  step();
  EXPECT_THAT(step(), ElementsAre(Pair(1, 1))) << "takes the newest one's block";
  EXPECT_EQ(count_of("openautoglm_preemptions_total"), 1);
  start(3);
  add(63, 5);
  add(31, 5);
  step();
  step();
  EXPECT_THAT(step(), ElementsAre(Pair(1, 1)));
  start(3);
  add(60, 9);
  add(31, 5);
  step();
  step();
  EXPECT_THAT(step(), ElementsAre(Pair(1, 1))) << "no block for the newest, and nobody newer";
  EXPECT_EQ(scheduler_->running_count(), 2u);
  EXPECT_EQ(used(), 3u);
}

TEST_F(SchedulerTest, RoomToGrowIsLeftToThoseThatRun) {
  options_.max_batch_tokens = 128;
  start(4);
  add(40, 60);
  add(32, 60);
  add(1, 60);
  step();
  EXPECT_EQ(scheduler_->running_count(), 2u) << "2 blocks, then 1 and 1 to grow; for a third there would be none";
  options_.growth_blocks = 0;
  start(4);
  add(40, 60);
  add(32, 60);
  add(1, 60);
  step();
  EXPECT_EQ(scheduler_->running_count(), 3u);
}

TEST_F(SchedulerTest, TheFirstInLineIsNeverPassedOver) {
  start(4);
  add(64, 60);
  add(96, 1);
  add(1, 1);
  EXPECT_THAT(step(), ElementsAre(Pair(1, 64)));
  EXPECT_THAT(step(), ElementsAre(Pair(1, 1))) << "the third would fit, the second does not";
}

TEST_F(SchedulerTest, AStepMayYieldNoneOneOrSeveralTokens) {
  Sequence& sequence = add(3, 10);
  const auto heard = ears(sequence);
  step({});
  EXPECT_TRUE(heard->tokens.empty());
  EXPECT_EQ(sequence.remaining(), 0u) << "a sampler that yields nothing for ever is the sampler's bug";
  start(16);
  Sequence& fast = add(3, 10);
  const auto fast_heard = ears(fast);
  step({'a', 'b', 'c'});
  EXPECT_THAT(fast_heard->tokens, ElementsAre('a', 'b', 'c'));
  EXPECT_THAT(step({'d', kEnd, 'e'}), ElementsAre(Pair(1, 3))) << "what was said is computed before more is asked";
  EXPECT_THAT(fast_heard->tokens, ElementsAre('a', 'b', 'c', 'd')) << "nothing after the end";
  EXPECT_EQ(fast_heard->finish.reason, FinishReason::kStop);
  EXPECT_EQ(fast_heard->finish.usage.prompt_tokens, 3u);
  EXPECT_EQ(fast_heard->finish.usage.completion_tokens, 4u) << "the end is not part of the answer";
  start(16);
  const auto cut = ears(add(3, 2));
  step({'a', 'b', 'c'});
  EXPECT_THAT(cut->tokens, ElementsAre('a', 'b'));
  EXPECT_EQ(cut->finish.reason, FinishReason::kLength);
}

TEST_F(SchedulerTest, KnownTokensOfAnAnswerAreARowOfItsOwnAndWhatPromptsLeave) {
  options_.max_batch_tokens = 6;
  start(16);
  add(2, 20);
  EXPECT_THAT(step({'a', 'b', 'c', 'd'}), ElementsAre(Pair(1, 2)));
  EXPECT_THAT(step(), ElementsAre(Pair(1, 4))) << "all at once when nobody else is there";
  add(1, 40);  // behind it, and it says much
  EXPECT_THAT(step(), ElementsAre(Pair(1, 1), Pair(2, 1)));
  const std::vector<TokenId> many(9, 'x');
  EXPECT_THAT(step(many), ElementsAre(Pair(1, 1), Pair(2, 1)));
  EXPECT_THAT(step(), ElementsAre(Pair(1, 5), Pair(2, 1))) << "a row each, and the rest in order";
  EXPECT_EQ(sequences_[0]->remaining(), 4u);
  EXPECT_THAT(step(), ElementsAre(Pair(1, 4), Pair(2, 2)));
  EXPECT_THAT(step(), ElementsAre(Pair(1, 1), Pair(2, 5)));
}

TEST_F(SchedulerTest, ALongPromptDoesNotHoldUpAnAnswerWithKnownTokens) {
  options_.max_batch_tokens = 8;
  start(32);
  generation::Request urgent;
  urgent.priority = 1;
  add(1, 20);
  step({'a', 'b', 'c'});
  add(100, 1, urgent);
  EXPECT_THAT(step(), ElementsAre(Pair(1, 3), Pair(2, 5)));
  step({'a', 'b', 'c'});
  EXPECT_THAT(step(), ElementsAre(Pair(1, 1), Pair(2, 7))) << "the prompt goes first, but for a row";
}

TEST_F(SchedulerTest, ForcedTokensAreCounted) {
  add(3, 10);
  step({'a', 'b', 'c'});
  step({'d'});
  EXPECT_EQ(count_of("openautoglm_generated_tokens_total"), 4);
  EXPECT_EQ(count_of("openautoglm_forced_tokens_total"), 2);
}

TEST_F(SchedulerTest, StopStringsReachOverTokensAndSteps) {
  generation::Request request;
  request.stop = {"abc"};
  const auto heard = ears(add(1, 10, request));
  step({'a'});
  step({'b'});
  EXPECT_EQ(heard->finishes, 0);
  step({'c', 'd'});
  EXPECT_EQ(heard->finishes, 1);
  EXPECT_EQ(heard->finish.reason, FinishReason::kStop);
  EXPECT_EQ(heard->finish.usage.completion_tokens, 3u);
}

TEST_F(SchedulerTest, PenaltiesCountWhatWasSaid) {
  generation::Request request;
  request.sampling.presence_penalty = 1;
  Sequence& sequence = add(1, 10, request);
  step({'x'});
  std::vector<float> row(256, 0.0f);
  sequence.sampling.adjust(row);
  EXPECT_EQ(row['x'], -1);
  EXPECT_EQ(row['y'], 0);
}

TEST_F(SchedulerTest, ScoredRowsOfAStepAreBounded) {
  options_.max_scored_rows = 5;
  start(16);
  generation::Request request;
  request.want_prompt_logprobs = true;
  add(12, 1, request);
  EXPECT_THAT(step(), ElementsAre(Pair(1, 5)));
  EXPECT_THAT(step(), ElementsAre(Pair(1, 5)));
  EXPECT_THAT(step(), ElementsAre(Pair(1, 2)));
  add(4, 1, request);
  add(4, 1, request);
  EXPECT_THAT(step(), ElementsAre(Pair(2, 4), Pair(3, 2))) << "three scores, then two that are left";
}

TEST_F(SchedulerTest, WhatIsCancelledOrLateIsGoneWithItsBlocksAtOnce) {
  generation::Request timed;
  timed.deadline = now_ + std::chrono::seconds(1);
  for (int i = 0; i < 5; ++i) add(40, 20, i % 2 == 0 ? timed : generation::Request{});
  std::vector<std::shared_ptr<Ears>> heard;
  for (const Sequence* sequence : sequences_) heard.push_back(ears(*sequence));
  step();
  EXPECT_EQ(used(), 3u) << "64 rows: one prompt and a part of the next";
  sequences_[1]->is_cancel_requested = true;  // runs
  sequences_[3]->is_cancel_requested = true;  // waits
  scheduler_->expire(now_ + std::chrono::milliseconds(999));
  scheduler_->check_invariants();
  EXPECT_EQ(heard[1]->finish.reason, FinishReason::kCancelled);
  EXPECT_EQ(heard[3]->finish.error->code, Code::kCancelled);
  EXPECT_EQ(used(), 2u);
  EXPECT_EQ(heard[0]->finishes + heard[2]->finishes + heard[4]->finishes, 0);
  scheduler_->expire(now_ + std::chrono::seconds(1));
  for (const int i : {0, 2, 4}) EXPECT_EQ(heard[i]->finish.error->code, Code::kDeadline);
  EXPECT_EQ(used(), 0u);
  EXPECT_TRUE(scheduler_->is_idle());
}

TEST_F(SchedulerTest, TheFirstReasonStays) {
  Sequence& sequence = add(1, 5);
  sequence.end(FinishReason::kStop);
  sequence.end(FinishReason::kError, Error{Code::kInternal, "too late", {}});
  EXPECT_EQ(sequence.finish_reason, FinishReason::kStop);
  EXPECT_FALSE(sequence.error.has_value());
}

TEST_F(SchedulerTest, NobodyWaitsForCompanyThatHasBegunOrHasIt) {
  options_.batch_timeout = std::chrono::seconds(60);
  options_.growth_blocks = 0;
  start(3);
  Sequence& first = add(33, 60);
  EXPECT_TRUE(step().empty());
  EXPECT_EQ(scheduler_->next_wake(), now_ + std::chrono::seconds(60));
  now_ += std::chrono::seconds(59);
  add(31, 60);
  EXPECT_TRUE(step().empty());
  EXPECT_EQ(scheduler_->next_wake(), now_ + std::chrono::seconds(1)) << "the first one's wait is the shortest";
  now_ += std::chrono::seconds(1);
  EXPECT_EQ(step().size(), 2u);
  for (int i = 0; i < 32; ++i) step();
  EXPECT_EQ(count_of("openautoglm_preemptions_total"), 1);
  first.is_cancel_requested = true;
  scheduler_->expire(now_);
  EXPECT_LE(scheduler_->next_wake().value_or(now_), now_);
  EXPECT_EQ(step().size(), 1u) << "the preempted one goes on alone";

  start(16);
  generation::Request timed;
  timed.deadline = now_ + std::chrono::seconds(5);
  add(1, 1, timed);
  EXPECT_EQ(scheduler_->next_wake(), timed.deadline) << "a deadline may come first";
  for (int i = 0; i < 3; ++i) add(1, 1);
  EXPECT_FALSE(scheduler_->next_wake().has_value()) << "a full batch is due now";
  EXPECT_EQ(step().size(), 4u);
}

TEST_F(SchedulerTest, AlonePlansHoldTheSameRowsAndLogits) {
  generation::Request scored;
  scored.want_prompt_logprobs = true;
  add(3, 5);
  add(4, 5, scored);
  scheduler_->plan(now_);
  ASSERT_EQ(scheduler_->planned_count(), 2u);
  const StepPlan& alone = scheduler_->plan_alone(1);
  ASSERT_EQ(alone.sequences.size(), 1u);
  EXPECT_EQ(alone.sequences[0].sequence, sequences_[1]);
  EXPECT_EQ(alone.sequences[0].first_logit, 0u);
  EXPECT_EQ(alone.batch.tokens.size(), 4u);
  EXPECT_EQ(alone.batch.sequences[0].first_row, 0u);
  EXPECT_THAT(alone.batch.logit_rows, ElementsAre(0, 1, 2, 3)) << "three scores and the next token";
}

}  // namespace
}  // namespace autoglm::engine

// SPDX-License-Identifier: Apache-2.0
#include "app/bench_measure.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <vector>

#include "kernels/ops.h"

namespace autoglm::app {
namespace {

using std::chrono::milliseconds;

// Takes a millisecond a row, and insists that every block holds the positions of one sequence without a gap.
class CountingNetwork final : public model::LanguageModel {
 public:
  explicit CountingNetwork(base::VirtualClock& clock) : clock_(clock) {}
  std::size_t vocab() const override { return 50; }
  std::size_t context_length() const override { return 256; }
  std::size_t kv_bytes_per_block() const override { return 64; }
  void reserve(std::size_t blocks, std::size_t max_rows, std::size_t max_logit_rows) override {
    blocks_ = blocks;
    max_rows_ = max_rows;
    max_logit_rows_ = max_logit_rows;
    ++reserved;
  }
  void copy_block(std::uint32_t, std::uint32_t) override { ADD_FAILURE() << "a benchmark reuses nothing"; }
  model::Logits forward(const model::Batch& batch) override {
    EXPECT_LE(batch.tokens.size(), max_rows_);
    EXPECT_LE(batch.logit_rows.size(), max_logit_rows_);
    for (const model::TokenId token : batch.tokens) EXPECT_TRUE(token >= 0 && token < 50) << token;
    std::size_t row = 0;
    std::set<std::uint32_t> blocks;
    for (const kernels::SequenceRows& sequence : batch.sequences) {
      EXPECT_EQ(sequence.first_row, row);
      row += sequence.rows;
      const std::uint32_t first_block = sequence.block_table[0];
      EXPECT_LT(first_block, blocks_);
      EXPECT_TRUE(blocks.insert(first_block).second) << "two sequences of a step share a block";
      // A sequence either starts again, or goes on at a position that was written before or comes next.
      EXPECT_LE(sequence.first_position, written_[first_block]);
      written_[first_block] = std::max(written_[first_block], sequence.first_position + sequence.rows);
    }
    EXPECT_EQ(row, batch.tokens.size());
    rows.push_back(row);
    logits += batch.logit_rows.size();
    clock_.advance(milliseconds(row));
    return {};
  }

  std::vector<std::size_t> rows;  // of every step
  std::size_t logits = 0;
  int reserved = 0;

 private:
  base::VirtualClock& clock_;
  std::size_t blocks_ = 0, max_rows_ = 0, max_logit_rows_ = 0;
  std::map<std::uint32_t, std::size_t> written_;  // first block of a sequence -> positions that hold a token
};

TEST(BenchMeasure, CountsTheTokensOfAllSequences) {
  base::VirtualClock clock;
  CountingNetwork network(clock);
  const BenchPlan plan{
      .prefill_tokens = 100, .decode_steps = 20, .depth = 0, .batches = {1, 8}, .max_batch_tokens = 64, .rounds = 3};
  const auto results = measure_network(network, plan, clock, {});
  ASSERT_TRUE(results) << results.error().message;
  ASSERT_EQ(results->size(), 3u);
  for (const BenchResult& result : *results) {
    EXPECT_EQ(result.tokens_per_second.size(), 3u);
    EXPECT_NEAR(result.median(), 1000, 1e-6) << bench_kind_name(result.kind) << " of " << result.batch;
  }
  EXPECT_EQ((*results)[0].kind, BenchKind::kPrefill);
  EXPECT_EQ((*results)[2].batch, 8u);
  EXPECT_EQ(network.reserved, 1);
}

TEST(BenchMeasure, CutsThePromptAndWantsItsLastLogitsOnly) {
  base::VirtualClock clock;
  CountingNetwork network(clock);
  const BenchPlan plan{
      .prefill_tokens = 100, .decode_steps = 0, .depth = 0, .batches = {}, .max_batch_tokens = 64, .rounds = 1};
  ASSERT_TRUE(measure_network(network, plan, clock, {}));
  EXPECT_EQ(network.rows, (std::vector<std::size_t>{64, 36, 64, 36}));  // the warm-up, then the round
  EXPECT_EQ(network.logits, 2u);
}

TEST(BenchMeasure, FillsEveryContextUpToTheDepthFirst) {
  base::VirtualClock clock;
  CountingNetwork network(clock);
  const BenchPlan plan{
      .prefill_tokens = 0, .decode_steps = 2, .depth = 70, .batches = {2}, .max_batch_tokens = 64, .rounds = 1};
  ASSERT_TRUE(measure_network(network, plan, clock, {}));
  EXPECT_EQ(network.rows, (std::vector<std::size_t>{64, 6, 64, 6, 2, 2, 2, 2}));
  EXPECT_EQ(network.logits, 8u);
}

TEST(BenchMeasure, RefusesWhatItCannotMeasure) {
  base::VirtualClock clock;
  CountingNetwork network(clock);
  const auto refusal = [&](BenchPlan plan) {
    const auto results = measure_network(network, plan, clock, {});
    EXPECT_FALSE(results);
    return results ? std::string() : results.error().where;
  };
  EXPECT_EQ(refusal({.prefill_tokens = 0, .decode_steps = 0}), "--prefill");
  EXPECT_EQ(refusal({.prefill_tokens = 8, .decode_steps = 8, .rounds = 0}), "--rounds");
  EXPECT_EQ(refusal({.prefill_tokens = 8, .decode_steps = 8, .batches = {}}), "--batch");
  EXPECT_EQ(refusal({.prefill_tokens = 8, .decode_steps = 8, .batches = {1, 0}}), "--batch");
  EXPECT_EQ(refusal({.prefill_tokens = 8, .decode_steps = 8, .max_batch_tokens = 0}), "--max-batch-tokens");
  EXPECT_EQ(refusal({.prefill_tokens = 257, .decode_steps = 8}), "--prefill");
  EXPECT_EQ(refusal({.prefill_tokens = 8, .decode_steps = 8, .depth = 249}), "--decode");
  EXPECT_EQ(network.reserved, 0);
  const BenchPlan at_the_bound{.prefill_tokens = 256, .decode_steps = 8, .depth = 248, .rounds = 1};
  EXPECT_TRUE(measure_network(network, at_the_bound, clock, {}));
}

TEST(BenchResult, MedianIsTheMiddleOfTheRounds) {
  BenchResult result;
  EXPECT_EQ(result.median(), 0);
  result.tokens_per_second = {5, 1, 3};
  EXPECT_EQ(result.median(), 3);
  result.tokens_per_second = {5, 1, 3, 4};
  EXPECT_EQ(result.median(), 3.5);
  EXPECT_EQ(result.best(), 5);
  EXPECT_EQ(result.worst(), 1);
}

}  // namespace
}  // namespace autoglm::app

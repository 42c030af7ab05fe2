// SPDX-License-Identifier: Apache-2.0
#include "app/bench_measure.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <string>

#include "base/random.h"
#include "kernels/ops.h"

namespace autoglm::app {
namespace {

using model::TokenId;

constexpr std::uint64_t kTokenSeed = 20260101;
constexpr std::size_t kWarmUpSteps = 16;
constexpr std::size_t kBlockTokens = kernels::KvLayer::kBlockTokens;

std::size_t blocks_of(std::size_t tokens) { return (tokens + kBlockTokens - 1) / kBlockTokens; }

// Random tokens: the work does not depend on them, but for the rows of the embedding table that are read.
std::vector<TokenId> random_tokens(std::size_t count, std::size_t vocab) {
  base::Random random(kTokenSeed);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random.below(vocab));
  return tokens;
}

Status check_plan(const model::LanguageModel& network, const BenchPlan& plan) {
  if (plan.prefill_tokens == 0 && plan.decode_steps == 0) {
    return fail(Code::kInvalidArgument, "nothing to measure: --prefill and --decode are both 0", "--prefill");
  }
  if (plan.rounds == 0) return fail(Code::kInvalidArgument, "--rounds must be at least 1", "--rounds");
  if (plan.max_batch_tokens == 0) {
    return fail(Code::kInvalidArgument, "--max-batch-tokens must be at least 1", "--max-batch-tokens");
  }
  if (plan.decode_steps > 0 && (plan.batches.empty() || std::ranges::count(plan.batches, std::size_t{0}) > 0)) {
    return fail(Code::kInvalidArgument, "--batch takes numbers of sequences, each at least 1", "--batch");
  }
  const std::size_t longest = std::max(plan.prefill_tokens, plan.depth + plan.decode_steps);
  if (longest > network.context_length()) {
    return fail(Code::kInvalidArgument,
                "the plan needs a context of " + std::to_string(longest) + " tokens; the model's is " +
                    std::to_string(network.context_length()),
                plan.prefill_tokens == longest ? "--prefill" : "--decode");
  }
  return {};
}

// Sequences on a bare network, each in blocks of its own.
class Runner final {
 public:
  Runner(model::LanguageModel& network, const BenchPlan& plan) : network_(network), plan_(plan) {
    const std::size_t widest = plan.decode_steps == 0 ? 1 : *std::ranges::max_element(plan.batches);
    const std::size_t longest = std::max(plan.prefill_tokens, plan.depth + plan.decode_steps);
    is_long_ = network.short_context() != 0 && longest > network.short_context();
    blocks_each_ = blocks_of(longest);
    blocks_.resize(widest * blocks_each_);
    std::iota(blocks_.begin(), blocks_.end(), 0u);
    tokens_ = random_tokens(std::max(plan.prefill_tokens, widest + plan.depth + plan.decode_steps), network.vocab());
    logit_rows_.resize(widest);
    std::iota(logit_rows_.begin(), logit_rows_.end(), 0u);
    network.reserve(blocks_.size(), std::max(plan.max_batch_tokens, widest), widest);
  }

  // A fresh prompt of `count` tokens for one sequence; only the last token's logits are wanted, if any.
  void prefill(std::size_t sequence, std::size_t count, bool want_logits) {
    for (std::size_t done = 0; done < count;) {
      const std::size_t rows = std::min(plan_.max_batch_tokens, count - done);
      const kernels::SequenceRows one{.first_row = 0,
                                      .rows = rows,
                                      .first_position = done,
                                      .block_table = block_table(sequence),
                                      .is_long = is_long_};
      const auto last = static_cast<std::uint32_t>(rows - 1);
      const bool ends = want_logits && done + rows == count;
      network_.forward({.tokens = std::span(tokens_).subspan(done, rows),
                        .sequences = {&one, 1},
                        .logit_rows = {&last, ends ? std::size_t{1} : std::size_t{0}}});
      done += rows;
    }
  }

  // One token for each of `batch` sequences, `steps` times from the depth on.
  void decode(std::size_t batch, std::size_t steps) {
    std::vector<kernels::SequenceRows> sequences(batch);
    for (std::size_t step = 0; step < steps; ++step) {
      for (std::size_t s = 0; s < batch; ++s) {
        sequences[s] = {.first_row = s,
                        .rows = 1,
                        .first_position = plan_.depth + step,
                        .block_table = block_table(s),
                        .is_long = is_long_};
      }
      network_.forward({.tokens = std::span(tokens_).subspan(plan_.depth + step, batch),
                        .sequences = sequences,
                        .logit_rows = std::span(logit_rows_).first(batch)});
    }
  }

 private:
  const std::uint32_t* block_table(std::size_t sequence) const { return blocks_.data() + sequence * blocks_each_; }

  model::LanguageModel& network_;
  const BenchPlan& plan_;
  std::size_t blocks_each_ = 0;
  bool is_long_ = false;
  std::vector<std::uint32_t> blocks_;  // [sequences, blocks_each_]
  std::vector<TokenId> tokens_;
  std::vector<std::uint32_t> logit_rows_;
};

template <typename WarmUp, typename Work>
std::vector<double> rates(const base::Clock& clock, std::size_t rounds, std::size_t tokens, const WarmUp& warm_up,
                          const Work& work) {
  warm_up();
  std::vector<double> measured;
  measured.reserve(rounds);
  for (std::size_t round = 0; round < rounds; ++round) {
    const base::Time start = clock.now();
    work();
    const double seconds = std::chrono::duration<double>(clock.now() - start).count();
    measured.push_back(static_cast<double>(tokens) / std::max(seconds, 1e-9));
  }
  return measured;
}

}  // namespace

std::string_view bench_kind_name(BenchKind kind) { return kind == BenchKind::kPrefill ? "prefill" : "decode"; }

double BenchResult::median() const {
  if (tokens_per_second.empty()) return 0;
  std::vector<double> sorted = tokens_per_second;
  std::ranges::sort(sorted);
  const std::size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

double BenchResult::best() const { return tokens_per_second.empty() ? 0 : std::ranges::max(tokens_per_second); }
double BenchResult::worst() const { return tokens_per_second.empty() ? 0 : std::ranges::min(tokens_per_second); }

Result<std::vector<BenchResult>> measure_network(model::LanguageModel& network, const BenchPlan& plan,
                                                 const base::Clock& clock,
                                                 const std::function<void(BenchKind, std::size_t batch)>& progress) {
  TRY(check_plan(network, plan));
  Runner runner(network, plan);
  std::vector<BenchResult> results;
  if (plan.prefill_tokens > 0) {
    if (progress) progress(BenchKind::kPrefill, 1);
    const auto work = [&] { runner.prefill(0, plan.prefill_tokens, true); };
    results.push_back({.kind = BenchKind::kPrefill,
                       .batch = 1,
                       .tokens = plan.prefill_tokens,
                       .tokens_per_second = rates(clock, plan.rounds, plan.prefill_tokens, work, work)});
  }
  if (plan.decode_steps == 0) return results;
  for (const std::size_t batch : plan.batches) {
    if (progress) progress(BenchKind::kDecode, batch);
    for (std::size_t sequence = 0; sequence < batch; ++sequence) runner.prefill(sequence, plan.depth, false);
    const auto warm_up = [&] { runner.decode(batch, std::min(plan.decode_steps, kWarmUpSteps)); };
    const auto work = [&] { runner.decode(batch, plan.decode_steps); };
    results.push_back({.kind = BenchKind::kDecode,
                       .batch = batch,
                       .tokens = plan.decode_steps,
                       .tokens_per_second = rates(clock, plan.rounds, batch * plan.decode_steps, warm_up, work)});
  }
  return results;
}

}  // namespace autoglm::app

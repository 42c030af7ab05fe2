// SPDX-License-Identifier: Apache-2.0
// From logits to tokens: penalties, bias, grammar mask, temperature, top_k, top_p, min_p, and a draw keyed by the
// sequence's seed and position, so that neighbours in the batch never change it. Tokens that a grammar forces next are
// taken over without sampling them (docs/decisions/0010-jump-forward.md). Owns scratch for one row a thread; allocates
// nothing after construction but an Error, and room for a forced text that is longer than all before. Engine thread
// only, which may share the rows of a step with a pool.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "engine/plan.h"
#include "model/batch.h"

namespace autoglm::engine {

constexpr std::size_t kMaxForcedTokens = 32;  // of a sequence in a step; the rest of a longer text comes later

struct SamplerOptions {
  std::size_t vocab = 0;
  std::size_t max_sequences = 0;
  std::size_t max_logit_rows = 0;
  std::vector<TokenId>
      grammar_ends;  // tokens by which a grammar's mask says that the text may end (the tokenizer's eos)
  // For the scripted model: a grammar that forbids the model's favourite token is an error, not a choice of another.
  bool is_favourite_binding = false;
  bool has_jump_forward = true;      // never with is_favourite_binding: each token is to be the model's own
  base::ThreadPool* pool = nullptr;  // idle while sample() runs; null = one thread does it all
};

class Sampler final {
 public:
  explicit Sampler(SamplerOptions options);

  /// Samples for every planned sequence. A row that cannot be sampled (not a number, nothing allowed) sets that
  /// sequence's error and touches no other. Rows of `logits` are overwritten.
  ///   Cost   O(vocab) a row; with top_k or top_p O(vocab + kept log kept)
  Sampled sample(const StepPlan& plan, const model::Logits& logits);

 private:
  struct Candidate {
    float logit;
    TokenId token;
  };
  // What one thread needs for a row.
  struct Scratch {
    std::vector<float> raw;             // [vocab]: the row before it is adjusted, when logprobs are asked for
    std::vector<float> weights;         // [vocab]
    std::vector<double> block_sums;     // of weights, kSumBlock to a block
    std::vector<Candidate> candidates;  // [vocab]
    std::vector<TokenId> forced;
  };
  // Where a sequence's tokens and their alternatives go.
  struct Room {
    std::span<SampledToken> tokens;
    std::span<generation::TokenLogprob> tops;
  };

  void sample_sequence(const PlannedSequence& planned, const model::Logits& logits, Room room, Scratch& scratch,
                       SampledSequence& result);
  Status score_prompt(const PlannedSequence& planned, const model::Logits& logits, Room& room, SampledSequence& result);
  Status sample_answer(Sequence& sequence, std::span<float> row, Room& room, Scratch& scratch, SampledSequence& result);
  Status jump_forward(const Sequence& sequence, std::span<SampledToken> room, Scratch& scratch, std::size_t& count,
                      bool& is_complete);
  Status apply_grammar(SamplingState& state, std::span<float> row, float raw_max, bool& is_complete);
  static Result<TokenId> choose(const Sequence& sequence, std::span<const float> row, Scratch& scratch);
  static TokenId draw_from_all(std::span<const float> row, float max, const generation::Sampling& sampling, double unit,
                               Scratch& scratch);
  static TokenId draw_from_best(std::span<const float> row, float max, const generation::Sampling& sampling,
                                double unit, Scratch& scratch);

  const SamplerOptions options_;
  std::vector<Scratch> scratch_;  // one a thread
  std::vector<SampledSequence> sequences_;
  std::vector<Room> rooms_;
  std::vector<std::size_t> free_;               // the sequences that any thread may sample
  std::vector<SampledToken> tokens_;            // [max_logit_rows + max_sequences * kMaxForcedTokens]
  std::vector<generation::TokenLogprob> tops_;  // [max_logit_rows * kMaxTopLogprobs]
};

}  // namespace autoglm::engine

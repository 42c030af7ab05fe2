// SPDX-License-Identifier: Apache-2.0
// From logits to tokens: penalties, bias, grammar mask, temperature, top_k, top_p, min_p, and a draw keyed by the
// sequence's seed and position, so that neighbours in the batch never change it. Tokens that a grammar forces next are
// taken over without sampling them (docs/decisions/0010-jump-forward.md). Owns scratch for one row at a time; allocates
// nothing after construction but an Error, and room for a forced text that is longer than all before. Engine thread
// only.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

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
  bool has_jump_forward = true;  // never with is_favourite_binding: each token is to be the model's own
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
  void sample_sequence(const PlannedSequence& planned, const model::Logits& logits, SampledSequence& result);
  Status score_prompt(const PlannedSequence& planned, const model::Logits& logits, SampledSequence& result);
  Status sample_answer(Sequence& sequence, std::span<float> row, SampledSequence& result);
  Status jump_forward(const Sequence& sequence, bool& is_complete);
  Status apply_grammar(SamplingState& state, std::span<float> row, float raw_max, bool& is_complete);
  Result<TokenId> choose(const Sequence& sequence, std::span<const float> row);
  TokenId draw_from_all(std::span<const float> row, float max, const generation::Sampling& sampling, double unit);
  TokenId draw_from_best(std::span<const float> row, float max, const generation::Sampling& sampling, double unit);
  /// The logprob of `token` and the `top` most likely ones, from raw logits with `log_sum`.
  SampledToken describe(std::span<const float> raw, double log_sum, TokenId token, std::size_t top);

  const SamplerOptions options_;
  std::vector<float> raw_;             // [vocab]: the row before it is adjusted, when logprobs are asked for
  std::vector<float> weights_;         // [vocab]
  std::vector<double> block_sums_;     // of weights_, kSumBlock to a block
  std::vector<Candidate> candidates_;  // [vocab]
  std::vector<SampledSequence> sequences_;
  std::vector<TokenId> forced_;
  std::vector<SampledToken> tokens_;            // [max_logit_rows + max_sequences * kMaxForcedTokens]
  std::vector<generation::TokenLogprob> tops_;  // [max_logit_rows * kMaxTopLogprobs]
  std::size_t tokens_used_ = 0;
  std::size_t tops_used_ = 0;
};

}  // namespace autoglm::engine

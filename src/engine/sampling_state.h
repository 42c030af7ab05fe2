// SPDX-License-Identifier: Apache-2.0
// What one sequence brings to the sampler: its parameters, its seed, how often each token occurred, its place in a
// grammar. Allocates when made, never after. Engine thread only, once it runs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "generation/request.h"
#include "text/grammar.h"

namespace autoglm::engine {

using generation::TokenId;

class SamplingState final {
 public:
  /// `ends` are the tokens that end the answer (model's own and the request's); `answer_limit` its most tokens.
  SamplingState(const generation::Request& request, std::vector<TokenId> ends, std::uint64_t seed, std::size_t vocab,
                std::size_t answer_limit, std::unique_ptr<text::Matcher> matcher);

  /// Counts a token of the answer, for penalties.
  void count(TokenId token);
  /// Repetition, frequency and presence penalties and logit_bias, in this order, in place.
  ///   Source   repetition: Keskar et al. 2019, arXiv:1909.05858, section 4.1 (a negative logit is multiplied);
  ///            frequency and presence: OpenAI API reference, "logit - count * frequency - (count > 0) * presence"
  void adjust(std::span<float> logits) const;

  const generation::Sampling& sampling() const { return sampling_; }
  std::uint64_t seed() const { return seed_; }
  std::span<const TokenId> ends() const { return ends_; }
  bool is_end(TokenId token) const;
  text::Matcher* matcher() const { return matcher_.get(); }
  /// Computes the mask of the next token, unless it is there already. Any thread, one at a time.
  void prepare_mask();
  /// The grammar's allowed tokens as bits, 32 to a word, prepared if need be; to be changed at will. The next call is
  /// for the token after. Errors: those of text::Matcher::mask(), kInternal.
  Result<std::span<std::uint32_t>> take_mask();

 private:
  static constexpr std::uint32_t kInPrompt = 1u << 31;  // above any count of an answer

  const generation::Sampling sampling_;
  const std::vector<TokenId> ends_;
  const std::uint64_t seed_;
  const bool has_penalties_;
  std::vector<std::uint32_t> occurrences_;  // [vocab]: count in the answer, kInPrompt; empty without penalties
  std::vector<TokenId> distinct_;           // tokens with occurrences_ != 0, in order of appearance
  std::unique_ptr<text::Matcher> matcher_;
  std::vector<std::uint32_t> mask_words_;
  std::optional<Status> mask_status_;  // of a mask that was prepared and not yet taken
};

}  // namespace autoglm::engine

// SPDX-License-Identifier: Apache-2.0
// Runs a network outside the engine, one sequence at a time: the logits of given ids, and perplexity. For `inspect
// logits`, `perplexity` and the parity tests; not for serving. One thread, the one that owns the network.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "model/batch.h"
#include "model/language_model.h"
#include "model/load.h"

namespace autoglm::model {

// One sequence on a network of its own. Takes the network over: reserves its KV memory, so make one per network.
class SoloSequence final {
 public:
  /// Reserves KV memory for `max_tokens` positions and scratch for chunks of `max_rows` rows, all of which may want
  /// logits.
  SoloSequence(LanguageModel& network, std::size_t max_tokens, std::size_t max_rows);

  enum class Want { kNone, kLast, kAll };
  /// Appends `ids` (at most max_rows, ids within the vocabulary, fitting into max_tokens) and runs one step.
  /// The logits live until the next call.
  Logits append(std::span<const TokenId> ids, Want want);
  /// Back to the empty sequence, of which `most` tokens at most will be appended; 0 = max_tokens.
  void restart(std::size_t most = 0);

  std::size_t position() const { return position_; }
  std::size_t max_tokens() const { return max_tokens_; }
  std::size_t max_rows() const { return max_rows_; }

 private:
  LanguageModel& network_;
  std::size_t max_tokens_;
  std::size_t max_rows_;
  std::size_t position_ = 0;
  bool is_long_ = false;
  std::vector<std::uint32_t> block_table_;
  std::vector<std::uint32_t> logit_rows_;
};

/// Checks ids against vocabulary and context. Errors: kInvalidArgument naming the first id or both lengths.
Status check_ids(const LanguageModel& network, std::span<const TokenId> ids);

/// Logits [ids.size(), vocab] of every position of one sequence, row-major. Reserves the model's KV memory: call it on
/// a freshly loaded model, once.
///   Errors   kInvalidArgument (no ids, an id outside the vocabulary, more ids than the context)
///   Cost     4 * ids * vocab bytes
Result<std::vector<float>> compute_logits(LoadedModel& model, std::span<const TokenId> ids);

struct PerplexityOptions {
  std::size_t window = 0;  // tokens seen at once; 0 = the smaller of 2048 and the context length
  std::size_t stride = 0;  // tokens scored by each further window; 0 = window / 2
  std::function<void(std::size_t scored, std::size_t total)> progress;  // may be empty
};

struct Perplexity {
  std::size_t window = 0;
  std::size_t stride = 0;
  std::size_t tokens = 0;         // of the text
  std::size_t tokens_scored = 0;  // all but the first
  double mean_nll = 0;            // natural log
  double perplexity = 0;          // exp(mean_nll)
  std::vector<float> nll;         // of tokens 1.. in order
};

/// Negative log-likelihood of tokens[1..] given what stands before them in a window: the first window scores all of its
/// tokens, each further one starts `stride` later and scores only those that no earlier one did. Fresh model, as above.
///   Errors   kInvalidArgument (fewer than two tokens, an id outside the vocabulary, stride > window, window > context)
Result<Perplexity> perplexity(LoadedModel& model, std::span<const TokenId> tokens, const PerplexityOptions& options);

/// The same on a bare network.
Result<Perplexity> perplexity(LanguageModel& network, std::span<const TokenId> tokens,
                              const PerplexityOptions& options);

// Two networks on one text, seen side by side.
struct Comparison {
  Perplexity reference, other;
  double mean_kl = 0;  // of the other's next token from the reference's, natural log, over the tokens scored
};

/// perplexity() of both, window by window, and how far their predictions part. Their vocabularies must be equal.
///   Errors   as perplexity(); kInvalidArgument (another vocabulary)
Result<Comparison> compare(LanguageModel& reference, LanguageModel& other, std::span<const TokenId> tokens,
                           const PerplexityOptions& options);

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
// What comes back from a Generator, piece by piece. Plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace autoglm::generation {

struct TokenLogprob {
  std::int32_t token = 0;
  float logprob = 0;  // natural log, of the distribution before temperature and masks
};

struct TokenEvent {
  std::int32_t token = 0;
  std::string text;                     // what this token adds to the answer's text; may be empty (held back)
  std::optional<TokenLogprob> logprob;  // when asked for
  std::vector<TokenLogprob> top;        // most likely first
};

enum class FinishReason : std::uint8_t {
  kStop,    // end-of-generation token, stop string or stop token, or the grammar is complete
  kLength,  // max_tokens or the context length
  kCancelled,
  kError,
};

struct Usage {
  std::size_t prompt_tokens = 0;
  std::size_t cached_tokens = 0;  // of the prompt, whose KV was reused
  std::size_t completion_tokens = 0;
};

struct Finish {
  FinishReason reason = FinishReason::kStop;
  std::string text;  // last text that was held back; comes after every TokenEvent's
  Usage usage;
  std::optional<TokenEvent> end_token;  // that the answer ended by, no part of it; when logprobs were asked for
  std::optional<Error> error;           // with kError and kCancelled
  double queue_seconds = 0, prefill_seconds = 0, decode_seconds = 0;
};

// Where events go. Called on the engine's thread: return quickly, never block, never throw. Order: on_prompt_logprobs
// at most once, then on_token any number of times (a step may yield several), then on_finish exactly once; nothing
// after it. on_prompt_logits comes before on_prompt_logprobs.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void on_prompt_logprobs(std::vector<TokenEvent> tokens) { (void)tokens; }
  /// What follows prompt token `position`: [vocab], before temperature, valid during the call. Once for each position
  /// but the last, rising; when asked for.
  virtual void on_prompt_logits(std::size_t position, std::span<const float> logits) { (void)position, (void)logits; }
  virtual void on_token(TokenEvent event) = 0;
  virtual void on_finish(Finish finish) = 0;
};

}  // namespace autoglm::generation

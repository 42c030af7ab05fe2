// SPDX-License-Identifier: Apache-2.0
// What a Request may hold: ranges of every number, lengths of every list. The server's words and a test's words meet
// the same bounds here, before anything is queued. Pure functions; any thread. Never looks at the text of a prompt.
#pragma once

#include <cstddef>

#include "base/result.h"
#include "generation/request.h"

namespace autoglm::generation {

inline constexpr float kMaxTemperature = 2.0f;        // OpenAI's range
inline constexpr float kMaxOccurrencePenalty = 2.0f;  // frequency and presence: -2..2, OpenAI's range
inline constexpr float kMaxRepetitionPenalty = 10.0f;
inline constexpr float kMaxLogitBias = 100.0f;  // OpenAI's range
inline constexpr std::size_t kMaxLogitBiasEntries = 1024;
inline constexpr std::size_t kMaxStopStrings = 16;
inline constexpr std::size_t kMaxStopStringBytes = 1024;
inline constexpr std::size_t kMaxStopTokens = 64;
inline constexpr std::size_t kMaxTopLogprobs = 20;

// What the model behind the door can hold.
struct RequestBounds {
  std::size_t vocab = 0;
  std::size_t context_length = 0;  // prompt and answer together
  std::size_t kv_tokens = 0;       // tokens whose KV fits into memory at once
};

/// Sampling parameters within their ranges; Error::where names the field ("temperature"). Errors: kInvalidArgument.
Status validate_sampling(const Sampling& sampling, std::size_t vocab);

/// The whole request, prompt ids included. Errors: kInvalidArgument with the field's name in Error::where; a prompt (or
/// prompt and answer) that does not fit names both figures.
Status validate(const Request& request, const RequestBounds& bounds);

/// Tokens the answer may have: max_tokens, or with 0 what context and KV memory leave. The request must be valid.
std::size_t answer_limit(const Request& request, const RequestBounds& bounds);

}  // namespace autoglm::generation

// SPDX-License-Identifier: Apache-2.0
// Every bound on a request, in one table. docs/guides/api.md lists them and a test compares; each has a test at the
// bound. The ranges of sampling numbers are OpenAI's; counts are ours.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace autoglm::protocol {

inline constexpr std::size_t kMaxMessages = 4096;
inline constexpr std::size_t kMaxContentParts = 256;  // of one message
inline constexpr std::size_t kMaxNameBytes = 256;     // model, names of participants and schemas, tool_call_id
inline constexpr std::size_t kMaxChoices = 32;        // n
inline constexpr std::size_t kMaxPrompts = 64;        // in one completion request
inline constexpr std::size_t kMaxInputs =
    2048;  // texts of one embeddings request, documents of one rerank: OpenAI's bound
inline constexpr std::size_t kMaxSequences = 64;     // n times prompts
inline constexpr std::size_t kMaxTokens = 1u << 20;  // max_tokens, min_tokens, ids of one prompt
// All that one request may be answered with: n * prompts * tokens of an answer * (1 + top_logprobs).
inline constexpr std::size_t kMaxAnswerValues = 1u << 20;
inline constexpr std::size_t kMaxDimensions = 1u << 17;  // dimensions of an embedding
inline constexpr std::size_t kMaxTools = 128;            // tools of a request, calls of a message
inline constexpr std::size_t kMaxToolCalls = 64;         // of one response, by us
inline constexpr std::size_t kMaxStops = 16;
inline constexpr std::size_t kMaxStopBytes = 1024;  // of one stop string
inline constexpr std::size_t kMaxStopTokens = 64;
inline constexpr std::size_t kMaxTopLogprobs = 20;
inline constexpr std::size_t kMaxLogitBias = 1024;  // entries
inline constexpr std::size_t kMaxTopK = 1u << 20;
inline constexpr std::size_t kMaxSchemaBytes = 256u << 10;  // of a JSON schema, as compact JSON
inline constexpr std::size_t kMaxTemplateFields = 64;       // chat_template_kwargs
inline constexpr std::size_t kMaxTextBytes = 4u << 20;      // of one prompt, message or text to tokenize
inline constexpr std::size_t kMaxWhiteRun = 500'000;        // white-space characters in a row; told by the tokenizer
inline constexpr std::size_t kMaxJsonDepth = 64;
inline constexpr std::size_t kMaxJsonValues = 1u << 21;  // of one body: bounds the memory that a body unfolds to
inline constexpr double kMaxTemperature = 2.0;
inline constexpr double kMaxOccurrencePenalty = 2.0;  // frequency and presence: -2 to 2
inline constexpr double kMaxRepetitionPenalty = 10.0;
inline constexpr double kMaxLogitBiasValue = 100.0;  // -100 to 100

struct Limit {
  std::string_view field;  // as a client writes it
  double bound;
};

// Field by field, for the documentation and its test.
std::span<const Limit> all_limits();

}  // namespace autoglm::protocol

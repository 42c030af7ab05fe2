// SPDX-License-Identifier: Apache-2.0
// Requests of the OpenAI API (and the further parameters that open servers agreed on) as checked plain values. A
// parameter that is unknown, or known and not supported, is refused by name, but for a closed list of ones that cannot
// change the output. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "protocol/limits.h"
#include "protocol/openai_tools.h"

namespace autoglm::protocol {

enum class FormatKind : std::uint8_t { kText, kJsonObject, kJsonSchema };

struct ResponseFormat {
  FormatKind kind = FormatKind::kText;
  std::string schema;   // compact JSON, with kJsonSchema
  std::string pointer;  // where the schema stands in the request (RFC 6901)
};

// What chat and completions have in common.
struct Parameters {
  std::string model;
  bool stream = false;
  bool include_usage = false;
  std::size_t n = 1;
  std::optional<std::size_t> max_tokens;
  std::size_t min_tokens = 0;
  double temperature = 1;
  double top_p = 1;
  double min_p = 0;
  std::int32_t top_k = 0;
  double repetition_penalty = 1;
  double frequency_penalty = 0;
  double presence_penalty = 0;
  std::vector<std::pair<std::int32_t, float>> logit_bias;
  std::optional<std::uint64_t> seed;
  std::vector<std::string> stop;
  std::vector<std::int32_t> stop_token_ids;
  bool ignore_eos = false;
  bool skip_special_tokens = true;
  bool return_token_ids = false;
  bool logprobs = false;
  std::size_t top_logprobs = 0;
  ResponseFormat response_format;
};

struct ChatRequest {
  Parameters parameters;
  // role and content as strings: text parts joined by line breaks, developer as system; tool_calls and tool_call_id
  json::Array messages;
  json::Object template_fields;
  ToolRequest tools;
  bool add_generation_prompt = true;
};

using Prompt = std::variant<std::string, std::vector<std::int32_t>>;

struct CompletionRequest {
  Parameters parameters;
  std::vector<Prompt> prompts;
  bool echo = false;
  bool add_special_tokens = true;
  bool parse_special = false;  // special-token text in a prompt becomes the token
};

struct TokenizeRequest {
  std::string model;  // may be empty
  std::variant<std::string, ChatRequest> input;
  bool add_special_tokens = true;
  bool parse_special = false;
};

struct DetokenizeRequest {
  std::string model;  // may be empty
  std::vector<std::int32_t> tokens;
  bool skip_special_tokens = false;
};

// Errors: kInvalidArgument, with the parameter's name in Error::where.
Result<ChatRequest> parse_chat_request(std::string_view body);
Result<CompletionRequest> parse_completion_request(std::string_view body);
Result<TokenizeRequest> parse_tokenize_request(std::string_view body);
Result<DetokenizeRequest> parse_detokenize_request(std::string_view body);

/// The product cap: all that one request may make the server return. `max_tokens` is what each sequence may really get.
Status check_answer_size(std::size_t sequences, std::size_t max_tokens, std::size_t top_logprobs);

// Names of parameters, for the documentation and its test.
std::span<const std::string_view> harmless_parameters();
std::vector<std::string_view> chat_parameters();
std::vector<std::string_view> completion_parameters();

}  // namespace autoglm::protocol

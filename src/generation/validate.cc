// SPDX-License-Identifier: Apache-2.0
#include "generation/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace autoglm::generation {
namespace {

// Written so that a NaN fails: every comparison with it is false.
Status in_range(const char* field, float value, float low, float high) {
  if (value >= low && value <= high) return {};
  return fail(Code::kInvalidArgument, fmt::format("{} must be between {} and {}, got {}", field, low, high, value),
              field);
}

Status at_most(const char* field, std::size_t count, std::size_t limit, const char* unit) {
  if (count <= limit) return {};
  return fail(Code::kInvalidArgument, fmt::format("{} has {} {}, at most {} are allowed", field, count, unit, limit),
              field);
}

Status known_token(const char* field, TokenId token, std::size_t vocab) {
  if (token >= 0 && static_cast<std::size_t>(token) < vocab) return {};
  return fail(Code::kInvalidArgument,
              fmt::format("{} names token {}, but the vocabulary has ids 0 to {}", field, token, vocab - 1), field);
}

// Positions that hold KV: the last token of an answer is never fed back.
std::size_t kv_limit(const RequestBounds& bounds) { return std::min(bounds.context_length, bounds.kv_tokens + 1); }

Status fits(const Request& request, const RequestBounds& bounds) {
  const std::size_t prompt = request.prompt.size();
  if (prompt == 0) return fail(Code::kInvalidArgument, "the prompt must have at least one token", "prompt");
  const std::size_t room = request.prompt_only ? prompt : kv_limit(bounds);
  if (prompt > bounds.context_length || (request.prompt_only && prompt > bounds.kv_tokens)) {
    return fail(Code::kInvalidArgument,
                fmt::format("the prompt has {} tokens, but at most {} fit", prompt,
                            std::min(bounds.context_length, bounds.kv_tokens)),
                "prompt");
  }
  if (request.prompt_only) return {};
  if (prompt >= room) {
    return fail(Code::kInvalidArgument,
                fmt::format("the prompt has {} tokens and leaves no room for an answer: prompt and answer together may "
                            "have {}",
                            prompt, room),
                "prompt");
  }
  if (request.max_tokens > room - prompt) {
    return fail(Code::kInvalidArgument,
                fmt::format("the prompt has {} tokens and max_tokens is {}, but prompt and answer together may have {}",
                            prompt, request.max_tokens, room),
                "max_tokens");
  }
  return {};
}

}  // namespace

Status validate_sampling(const Sampling& sampling, std::size_t vocab) {
  TRY(in_range("temperature", sampling.temperature, 0, kMaxTemperature));
  TRY(in_range("top_p", sampling.top_p, 0, 1));
  TRY(in_range("min_p", sampling.min_p, 0, 1));
  TRY(in_range("frequency_penalty", sampling.frequency_penalty, -kMaxOccurrencePenalty, kMaxOccurrencePenalty));
  TRY(in_range("presence_penalty", sampling.presence_penalty, -kMaxOccurrencePenalty, kMaxOccurrencePenalty));
  TRY(in_range("repetition_penalty", sampling.repetition_penalty, 1 / kMaxRepetitionPenalty, kMaxRepetitionPenalty));
  if (sampling.top_k < 0) {
    return fail(Code::kInvalidArgument, fmt::format("top_k must be 0 (all) or more, got {}", sampling.top_k), "top_k");
  }
  TRY(at_most("logit_bias", sampling.logit_bias.size(), kMaxLogitBiasEntries, "entries"));
  for (const auto& [token, bias] : sampling.logit_bias) {
    TRY(known_token("logit_bias", token, vocab));
    TRY(in_range("logit_bias", bias, -kMaxLogitBias, kMaxLogitBias));
  }
  return {};
}

Status validate(const Request& request, const RequestBounds& bounds) {
  TRY(validate_sampling(request.sampling, bounds.vocab));
  TRY(at_most("stop", request.stop.size(), kMaxStopStrings, "strings"));
  for (const std::string& text : request.stop) {
    if (text.empty()) return fail(Code::kInvalidArgument, "stop must not hold an empty string", "stop");
    TRY(at_most("stop", text.size(), kMaxStopStringBytes, "bytes"));
  }
  TRY(at_most("stop_token_ids", request.stop_tokens.size(), kMaxStopTokens, "tokens"));
  for (TokenId token : request.stop_tokens) TRY(known_token("stop_token_ids", token, bounds.vocab));
  TRY(at_most("top_logprobs", request.top_logprobs, kMaxTopLogprobs, "alternatives"));
  for (TokenId token : request.prompt) TRY(known_token("prompt", token, bounds.vocab));
  TRY(fits(request, bounds));
  if (request.min_tokens > 0 && request.max_tokens > 0 && request.min_tokens > request.max_tokens) {
    return fail(Code::kInvalidArgument,
                fmt::format("min_tokens is {}, more than max_tokens, {}", request.min_tokens, request.max_tokens),
                "min_tokens");
  }
  return {};
}

std::size_t answer_limit(const Request& request, const RequestBounds& bounds) {
  if (request.prompt_only) return 0;
  const std::size_t room = kv_limit(bounds) - request.prompt.size();
  return request.max_tokens == 0 ? room : std::min(room, request.max_tokens);
}

}  // namespace autoglm::generation

// SPDX-License-Identifier: Apache-2.0
#include "protocol/response_object.h"

#include <utility>

namespace autoglm::protocol {
namespace {

// In the words that the API has for a response that failed.
json::Value error_object(const ApiError& error) {
  std::string_view code = "server_error";
  if (error.error.code == Code::kExhausted) code = "rate_limit_exceeded";
  if (error.error.code == Code::kInvalidArgument) code = "invalid_prompt";
  if (!error.wire_code.empty()) code = error.wire_code;
  return json::Object{{"code", code}, {"message", public_message(error.error)}};
}

json::Object usage_object(const UsageCount& usage) {
  return {{"input_tokens", usage.prompt_tokens},
          {"input_tokens_details", json::Object{{"cached_tokens", usage.cached_tokens}, {"cache_write_tokens", 0}}},
          {"output_tokens", usage.completion_tokens},
          {"output_tokens_details", json::Object{{"reasoning_tokens", usage.reasoning_tokens}}},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}

}  // namespace

json::Object response_object(const ResponseHead& head, ResponseState state) {
  json::Object out = {{"id", head.id},
                      {"object", "response"},
                      {"created_at", head.created},
                      {"status", state.status},
                      {"model", head.model}};
  out["error"] = state.error ? error_object(*state.error) : json::Value();
  out["incomplete_details"] =
      state.incomplete_reason.empty() ? json::Value() : json::Object{{"reason", state.incomplete_reason}};
  out["output"] = std::move(state.output);
  out["usage"] = state.usage ? json::Value(usage_object(*state.usage)) : json::Value();
  for (const auto& member : head.echo) out[member.key()] = member.value();
  return out;
}

std::string format_event(std::string_view type, std::size_t sequence_number, json::Object fields) {
  json::Object event = {{"type", type}, {"sequence_number", sequence_number}};
  for (auto& member : fields) event[member.key()] = std::move(member.value());
  std::string out = "event: " + std::string(type) + "\ndata: ";
  json::format_to(out, event);
  return out + "\n\n";
}

}  // namespace autoglm::protocol

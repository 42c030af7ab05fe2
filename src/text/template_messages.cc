// SPDX-License-Identifier: Apache-2.0
#include "text/template_messages.h"

#include <algorithm>
#include <string>

namespace autoglm::text {
namespace {

constexpr std::size_t kMistralIdSize = 9;

std::string_view text_at(const json::Object& object, std::string_view key) {
  const json::Value* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? json::view(value->get_string()) : std::string_view();
}

// The calls of an assistant's message; empty: it has none.
json::Array calls_of(const json::Object& message) {
  const json::Value* calls = message.if_contains("tool_calls");
  return calls != nullptr && calls->is_array() ? calls->get_array() : json::Array();
}

// {"name", "arguments"} of a call, with its wrapper or without.
json::Object function_of(const json::Value& call) {
  if (!call.is_object()) return {};
  const json::Value* inner = call.get_object().if_contains("function");
  return inner != nullptr && inner->is_object() ? inner->get_object() : call.get_object();
}

// A first message with the tools, which these templates look for there.
void put_tools(json::Array& messages, json::Value tools) {
  json::Object* first = messages.empty() ? nullptr : messages.front().if_object();
  if (first == nullptr || text_at(*first, "role") != "system") {
    messages.insert(messages.begin(), json::Object{{"role", "system"}, {"content", ""}});
    first = &messages.front().get_object();
  }
  (*first)["tools"] = std::move(tools);
}

// A call is a message of its own there, with its name as metadata; its result is an observation.
json::Array glm_messages(std::string_view source, const json::Array& messages, const json::Array& tools) {
  json::Array written;
  for (const json::Value& value : messages) {
    json::Object message = value.is_object() ? value.get_object() : json::Object();
    if (text_at(message, "role") == "tool") message["role"] = "observation";
    const json::Array calls = calls_of(message);
    message.erase("tool_calls");
    if (calls.empty() || !text_at(message, "content").empty()) written.push_back(std::move(message));
    for (const json::Value& call : calls) {
      json::Object function = function_of(call);
      const json::Value* arguments = function.if_contains("arguments");
      const std::string content = arguments == nullptr ? "{}" : json::format(*arguments);
      written.push_back(
          json::Object{{"role", "assistant"}, {"metadata", text_at(function, "name")}, {"content", content}});
    }
  }
  const bool reads_tools_of_message = source.contains("['tools']") || source.contains("[\"tools\"]");
  if (!tools.empty() && reads_tools_of_message) put_tools(written, tools);
  return written;
}

bool is_letter_or_digit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// The same id for the same call everywhere: FNV-1a of it, in letters and digits.
std::string mistral_id(std::string_view id) {
  if (id.size() == kMistralIdSize && std::ranges::all_of(id, is_letter_or_digit)) return std::string(id);
  constexpr std::string_view kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::uint64_t hash = 0xCBF2'9CE4'8422'2325;
  for (const char c : id) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100'0000'01B3;
  std::string short_id;
  for (std::size_t i = 0; i < kMistralIdSize; ++i, hash /= kDigits.size()) short_id += kDigits[hash % kDigits.size()];
  return short_id;
}

// Ids are nine letters and digits there: the template refuses any other.
json::Array mistral_messages(const json::Array& messages) {
  json::Array written = messages;
  const auto shorten = [](json::Object& object, std::string_view key) {
    if (json::Value* id = object.if_contains(key); id != nullptr && id->is_string())
      *id = mistral_id(json::view(id->get_string()));
  };
  for (json::Value& value : written) {
    json::Object* message = value.if_object();
    if (message == nullptr) continue;
    shorten(*message, "tool_call_id");
    json::Value* calls = message->if_contains("tool_calls");
    if (calls == nullptr || !calls->is_array()) continue;
    for (json::Value& call : calls->get_array()) {
      if (json::Object* object = call.if_object()) shorten(*object, "id");
    }
  }
  return written;
}

// The tools are the text of a list in the system message, and calls are text of their own.
json::Array phi_messages(const json::Array& messages, const json::Array& tools) {
  json::Array written = messages;
  for (json::Value& value : written) {
    json::Object* message = value.if_object();
    const json::Array calls = message == nullptr ? json::Array() : calls_of(*message);
    if (calls.empty()) continue;
    json::Array functions;
    for (const json::Value& call : calls) functions.push_back(function_of(call));
    (*message)["content"] =
        std::string(text_at(*message, "content")) + "<|tool_call|>" + json::format(functions) + "<|/tool_call|>";
    message->erase("tool_calls");
  }
  json::Array functions;
  for (const json::Value& tool : tools) functions.push_back(function_of(tool));
  if (!tools.empty()) put_tools(written, json::Value(json::format(functions)));
  return written;
}

}  // namespace

std::optional<json::Array> template_messages(ToolFormat format, std::string_view template_source,
                                             const json::Array& messages, const json::Array& tools) {
  switch (format) {
    case ToolFormat::kGlm4:
      return glm_messages(template_source, messages, tools);
    case ToolFormat::kMistral:
    case ToolFormat::kMistralArgs:
      return mistral_messages(messages);
    case ToolFormat::kPhi4:
      return phi_messages(messages, tools);
    default:
      return std::nullopt;
  }
}

}  // namespace autoglm::text

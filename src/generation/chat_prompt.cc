// SPDX-License-Identifier: Apache-2.0
#include "generation/chat_prompt.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "text/template_messages.h"

namespace autoglm::generation {
namespace {

std::string_view text_of(const json::Object& message, std::string_view key) {
  const json::Value* value = message.if_contains(key);
  if (value == nullptr || !value->is_string()) return {};
  return {value->get_string().data(), value->get_string().size()};
}

std::string describe_tools(const json::Array& tools) {
  std::string text = "You can call these functions:\n";
  for (const json::Value& tool : tools) {
    text += json::format(tool);
    text += '\n';
  }
  text +=
      "To call one, write a line <tool_call>{\"name\": \"NAME\", \"arguments\": {...}}</tool_call> and nothing after "
      "the "
      "calls. The results come back as <tool_response>.";
  return text;
}

// A call as it would have been written.
std::string call_in_words(const json::Value& call) {
  const json::Object* function = nullptr;
  if (call.is_object()) {
    const json::Value* inner = call.get_object().if_contains("function");
    function = inner != nullptr && inner->is_object() ? &inner->get_object() : &call.get_object();
  }
  if (function == nullptr) return {};
  json::Object written = {{"name", text_of(*function, "name")}};
  const json::Value* arguments = function->if_contains("arguments");
  written["arguments"] = arguments == nullptr ? json::Value(json::Object()) : *arguments;
  return "<tool_call>" + json::format(written) + "</tool_call>";
}

json::Object in_words(const json::Object& message) {
  const std::string_view role = text_of(message, "role");
  if (role == "tool") {
    return {{"role", "user"},
            {"content", "<tool_response>" + std::string(text_of(message, "content")) + "</tool_response>"}};
  }
  const json::Value* calls = message.if_contains("tool_calls");
  if (calls == nullptr || !calls->is_array()) return message;
  std::string content(text_of(message, "content"));
  for (const json::Value& call : calls->get_array()) {
    if (!content.empty()) content += '\n';
    content += call_in_words(call);
  }
  return {{"role", role}, {"content", content}};
}

bool has_tool_words(const json::Array& messages) {
  return std::ranges::any_of(messages, [](const json::Value& message) {
    return message.is_object() &&
           (message.get_object().contains("tool_calls") || text_of(message.get_object(), "role") == "tool");
  });
}

json::Value* member(json::Value& value, std::string_view key) {
  return value.is_object() ? value.get_object().if_contains(key) : nullptr;
}

// The same messages with {} where a call's arguments are a text; nothing when there is none.
std::optional<json::Array> without_argument_texts(const json::Array& messages) {
  json::Array copy = messages;
  bool has_any = false;
  for (json::Value& message : copy) {
    json::Value* calls = member(message, "tool_calls");
    if (calls == nullptr || !calls->is_array()) continue;
    for (json::Value& call : calls->get_array()) {
      json::Value* function = member(call, "function");
      json::Value* arguments = function == nullptr ? nullptr : member(*function, "arguments");
      if (arguments == nullptr || !arguments->is_string()) continue;
      *arguments = json::Object();
      has_any = true;
    }
  }
  if (!has_any) return std::nullopt;
  return copy;
}

}  // namespace

json::Array with_tools_in_words(const json::Array& messages, const json::Array& tools) {
  json::Array result;
  if (!tools.empty()) result.push_back(json::Object{{"role", "system"}, {"content", describe_tools(tools)}});
  for (const json::Value& message : messages) {
    json::Object written = message.is_object() ? in_words(message.get_object()) : json::Object();
    // Templates take one system message, at the beginning.
    if (!result.empty() && result.size() == 1 && !tools.empty() && text_of(written, "role") == "system") {
      const std::string joined = std::string(text_of(written, "content")) + "\n\n" + describe_tools(tools);
      result[0] = json::Object{{"role", "system"}, {"content", joined}};
      continue;
    }
    result.push_back(std::move(written));
  }
  return result;
}

Result<text::RenderedPrompt> render(const ModelCard& card, const ChatPrompt& prompt) {
  if (card.chat_template == nullptr) {
    return fail(Code::kInvalidArgument, "this model has no chat template; use /v1/completions");
  }
  telemetry::StageTimer time(card.stages, telemetry::Stage::kTemplate);
  static const json::Array kNoTools;
  const json::Array& tools = prompt.tools == nullptr ? kNoTools : *prompt.tools;
  json::Array in_words;
  std::optional<json::Array> as_read;
  text::ChatTemplate::Inputs inputs;
  inputs.messages = prompt.messages;
  if (card.template_shows_tools) {
    if (!tools.empty()) inputs.tools = &tools;
    as_read = text::template_messages(card.tool_format, card.chat_template->source(), *prompt.messages, tools);
    if (as_read) inputs.messages = &*as_read;
  } else if (!tools.empty() || has_tool_words(*prompt.messages)) {
    in_words = with_tools_in_words(*prompt.messages, tools);
    inputs.messages = &in_words;
  }
  inputs.kwargs = prompt.template_fields;
  inputs.add_generation_prompt = prompt.add_generation_prompt;
  inputs.special = card.control_spellings;
  auto rendered = card.chat_template->render(inputs);
  if (rendered) return rendered;
  // A template may walk over the members of arguments (GLM's does), and cannot do so where they are a text.
  const auto walkable = without_argument_texts(*inputs.messages);
  if (!walkable) return rendered;
  inputs.messages = &*walkable;
  return card.chat_template->render(inputs);
}

Result<std::vector<text::TokenId>> encode(const ModelCard& card, const ChatPrompt& prompt) {
  return encode(card, TRY(render(card, prompt)));
}

Result<std::vector<text::TokenId>> encode(const ModelCard& card, const text::RenderedPrompt& prompt) {
  return encode(card, prompt.text, {.add_special = false, .parse_special = true, .plain = prompt.plain});
}

bool ends_in_reasoning(std::string_view prompt) {
  while (prompt.ends_with('\n')) prompt.remove_suffix(1);
  return prompt.ends_with("<think>");
}

// As templates write a thought that is empty: GLM's on one line, Qwen's on lines of their own.
Result<std::vector<text::TokenId>> encode_without_reasoning(const ModelCard& card, const ChatPrompt& prompt) {
  text::RenderedPrompt rendered = TRY(render(card, prompt));
  if (ends_in_reasoning(rendered.text)) rendered.text += rendered.text.ends_with('\n') ? "\n</think>\n\n" : "</think>";
  return encode(card, rendered);
}

Result<std::vector<text::TokenId>> encode(const ModelCard& card, std::string_view text,
                                          const text::Tokenizer::EncodeOptions& options) {
  telemetry::StageTimer time(card.stages, telemetry::Stage::kTokenise);
  return card.tokenizer->encode(text, options);
}

}  // namespace autoglm::generation

// SPDX-License-Identifier: Apache-2.0
#include "protocol/response_items.h"

#include <algorithm>
#include <array>

#include "protocol/limits.h"
#include "protocol/openai_tools.h"

namespace autoglm::protocol {
namespace {

std::string quoted(std::string_view name) { return "\"" + std::string(name.substr(0, 100)) + "\""; }

// A part that has a text, of the one type that its place allows.
Result<std::string> read_part(const json::Value& value, std::string_view type, const std::string& place) {
  if (!value.is_object()) return fail(Code::kInvalidArgument, place + " must be an object", place);
  FieldReader part(value.get_object(), place);
  const std::string given = TRY(part.string("type", kMaxNameBytes)).value_or("");
  if (given != type) {
    return fail(Code::kInvalidArgument,
                place + ".type must be " + std::string(type) + ": " + quoted(given) + " is not supported here",
                place + ".type");
  }
  auto text = TRY(part.string("text", kMaxTextBytes));
  if (!text) return part.wrong("text", "a string");
  // Answers of ours have these, and clients send them back.
  for (const char* name : {"annotations", "logprobs"}) {
    const json::Array* list = TRY(part.array(name, kMaxContentParts));
    if (list != nullptr && !list->empty()) return part.wrong(name, "absent or empty");
  }
  if (type == "output_text") part.take("parsed");  // by the clients' helpers: what they read in the text, once more
  TRY(part.refuse_rest());
  return std::move(*text);
}

// A text, or a list of text parts, as a list of parts.
Result<json::Array> read_parts(FieldReader& item, std::string_view field, std::string_view type) {
  const json::Value* content = item.take(field);
  const std::string expected = "a string or a list of " + std::string(type) + " parts";
  if (content == nullptr) return item.wrong(field, expected);
  std::vector<std::string> texts;
  if (content->is_string()) {
    texts.emplace_back(content->get_string());
  } else if (content->is_array()) {
    const json::Array& parts = content->get_array();
    if (parts.size() > kMaxContentParts) {
      return item.wrong(field, "a list of at most " + std::to_string(kMaxContentParts) + " parts");
    }
    for (std::size_t i = 0; i < parts.size(); ++i) {
      texts.push_back(TRY(read_part(parts[i], type, item.name_of(field) + "[" + std::to_string(i) + "]")));
    }
  } else {
    return item.wrong(field, expected);
  }
  json::Array out;
  std::size_t bytes = 0;
  for (const std::string& text : texts) {
    bytes += text.size();
    json::Object part = {{"type", type}, {"text", text}};
    if (type == "output_text") part["annotations"] = json::Array{};
    out.push_back(std::move(part));
  }
  if (bytes > kMaxTextBytes) return item.wrong(field, "at most " + std::to_string(kMaxTextBytes) + " bytes");
  return out;
}

Status read_status(FieldReader& item) {
  static constexpr std::array<std::string_view, 5> kStatuses = {"completed", "incomplete", "in_progress", "failed",
                                                                "calling"};
  const auto status = TRY(item.string("status", kMaxNameBytes));
  if (status && std::ranges::find(kStatuses, *status) == kStatuses.end()) {
    return item.wrong("status", "completed or incomplete");
  }
  return {};
}

Result<std::string> required(FieldReader& item, std::string_view field, std::size_t max_bytes = kMaxNameBytes) {
  auto text = TRY(item.string(field, max_bytes));
  if (!text || text->empty()) return item.wrong(field, "a string");
  return std::move(*text);
}

// As they came: what a model wrote may be cut, or no JSON.
Result<std::string> read_arguments(FieldReader& item) {
  std::string text = TRY(item.string("arguments", kMaxTextBytes)).value_or("");
  if (text.empty()) text = "{}";
  return text;
}

// Of a call that is run once it is approved.
Result<std::string> read_usable_arguments(FieldReader& item) {
  std::string text = TRY(read_arguments(item));
  if (!parse_arguments(text)) return item.wrong("arguments", "the text of a JSON object");
  return text;
}

Result<json::Object> read_message_item(FieldReader& item) {
  const std::string role = TRY(item.string("role", kMaxNameBytes)).value_or("");
  static constexpr std::array<std::string_view, 4> kRoles = {"system", "developer", "user", "assistant"};
  if (std::ranges::find(kRoles, role) == kRoles.end()) {
    return item.wrong("role", "system, developer, user or assistant");
  }
  json::Object out = {{"type", "message"}, {"role", role}, {"status", "completed"}};
  out["content"] = TRY(read_parts(item, "content", role == "assistant" ? "output_text" : "input_text"));
  return out;
}

Result<json::Object> read_function_call(FieldReader& item) {
  json::Object out = {{"type", "function_call"}, {"status", "completed"}};
  out["call_id"] = TRY(required(item, "call_id"));
  out["name"] = TRY(required(item, "name"));
  out["arguments"] = TRY(read_arguments(item));
  item.take("parsed_arguments");  // by the clients' helpers: what they read in the text, once more
  return out;
}

Result<json::Object> read_function_output(FieldReader& item) {
  json::Object out = {{"type", "function_call_output"}, {"status", "completed"}};
  out["call_id"] = TRY(required(item, "call_id"));
  const json::Array parts = TRY(read_parts(item, "output", "input_text"));
  std::string text;
  for (const json::Value& part : parts) {
    if (!text.empty()) text.push_back('\n');
    text += text_of_field(part.get_object(), "text");
  }
  out["output"] = text;
  return out;
}

Result<json::Object> read_reasoning(FieldReader& item) {
  const json::Array* summary = TRY(item.array("summary", kMaxContentParts));
  if (summary != nullptr && !summary->empty()) return item.wrong("summary", "absent or empty");
  if (item.take("encrypted_content") != nullptr) return item.wrong("encrypted_content", "absent");
  json::Object out = {{"type", "reasoning"}, {"summary", json::Array{}}, {"status", "completed"}};
  out["content"] = item.take("content") == nullptr ? json::Array{} : TRY(read_parts(item, "content", "reasoning_text"));
  return out;
}

Result<json::Object> read_listed_tools(FieldReader& item) {
  json::Object out = {{"type", "mcp_list_tools"}};
  out["server_label"] = TRY(required(item, "server_label"));
  const json::Array* tools = TRY(item.array("tools", kMaxTools));
  out["tools"] = tools == nullptr ? json::Array{} : *tools;
  if (item.take("error") != nullptr) return item.wrong("error", "absent");
  return out;
}

Result<json::Object> read_mcp_call(FieldReader& item) {
  json::Object out = {{"type", "mcp_call"}, {"status", "completed"}};
  out["server_label"] = TRY(required(item, "server_label"));
  out["name"] = TRY(required(item, "name"));
  out["arguments"] = TRY(read_arguments(item));
  const auto output = TRY(item.string("output", kMaxTextBytes));
  out["output"] = output ? json::Value(*output) : json::Value();
  const json::Value* error = item.take("error");
  if (error != nullptr && !error->is_string() && !error->is_object())
    return item.wrong("error", "a string or an object");
  out["error"] = error == nullptr ? json::Value() : call_error(text_of_call_error(*error));
  if (error != nullptr) out["status"] = "failed";
  const auto request = TRY(item.string("approval_request_id", kMaxNameBytes));
  out["approval_request_id"] = request ? json::Value(*request) : json::Value();
  return out;
}

Result<json::Object> read_approval_request(FieldReader& item) {
  json::Object out = {{"type", "mcp_approval_request"}};
  out["server_label"] = TRY(required(item, "server_label"));
  out["name"] = TRY(required(item, "name"));
  out["arguments"] = TRY(read_usable_arguments(item));
  return out;
}

Result<json::Object> read_approval_response(FieldReader& item) {
  json::Object out = {{"type", "mcp_approval_response"}};
  out["approval_request_id"] = TRY(required(item, "approval_request_id"));
  const auto approves = TRY(item.boolean("approve"));
  if (!approves) return item.wrong("approve", "true or false");
  out["approve"] = *approves;
  if (auto reason = TRY(item.string("reason", kMaxTextBytes))) out["reason"] = *reason;
  return out;
}

struct ItemKind {
  std::string_view type;
  Result<json::Object> (*read)(FieldReader&);
};
constexpr ItemKind kItemKinds[] = {
    {"message", read_message_item},
    {"function_call", read_function_call},
    {"function_call_output", read_function_output},
    {"reasoning", read_reasoning},
    {"mcp_list_tools", read_listed_tools},
    {"mcp_call", read_mcp_call},
    {"mcp_approval_request", read_approval_request},
    {"mcp_approval_response", read_approval_response},
};

Result<json::Object> read_item(const json::Value& value, const std::string& place) {
  if (!value.is_object()) return fail(Code::kInvalidArgument, place + " must be an object", place);
  FieldReader item(value.get_object(), place);
  const std::string type = TRY(item.string("type", kMaxNameBytes)).value_or("message");
  const auto* kind = std::ranges::find(kItemKinds, type, &ItemKind::type);
  if (kind == std::end(kItemKinds)) {
    return fail(Code::kInvalidArgument, place + ": items of type " + quoted(type) + " are not supported here",
                place + ".type");
  }
  json::Object out = TRY(kind->read(item));
  TRY(read_status(item));
  if (auto id = TRY(item.string("id", kMaxNameBytes)); id && !id->empty()) out["id"] = *id;
  TRY(item.refuse_rest());
  return out;
}

}  // namespace

std::string_view text_of_field(const json::Object& item, std::string_view name) {
  const json::Value* value = item.if_contains(name);
  if (value == nullptr || !value->is_string()) return {};
  return {value->get_string().data(), value->get_string().size()};
}

json::Value call_error(std::string_view text) {
  return json::Object{{"type", "mcp_tool_execution_error"},
                      {"content", json::Array{json::Object{{"type", "text"}, {"text", text}}}}};
}

std::string text_of_call_error(const json::Value& error) {
  if (error.is_string()) return std::string(error.get_string());
  const json::Object* object = error.if_object();
  if (object == nullptr) return {};
  if (const auto message = text_of_field(*object, "message"); !message.empty()) return std::string(message);
  std::string text;
  const json::Value* content = object->if_contains("content");
  if (content == nullptr || !content->is_array()) return json::format(error);
  for (const json::Value& part : content->get_array()) {
    if (!text.empty()) text.push_back('\n');
    if (part.is_object()) text += text_of_field(part.get_object(), "text");
  }
  return text;
}

Result<json::Array> read_input(FieldReader& reader) {
  const json::Value* input = reader.take("input");
  constexpr const char* kExpected = "a string or a list of items";
  if (input == nullptr) return reader.wrong("input", kExpected);
  if (input->is_string()) {
    if (input->get_string().size() > kMaxTextBytes) {
      return reader.wrong("input", "at most " + std::to_string(kMaxTextBytes) + " bytes");
    }
    const json::Array content = {json::Object{{"type", "input_text"}, {"text", input->get_string()}}};
    return json::Array{
        json::Object{{"type", "message"}, {"role", "user"}, {"status", "completed"}, {"content", content}}};
  }
  if (!input->is_array()) return reader.wrong("input", kExpected);
  const json::Array& items = input->get_array();
  if (items.size() > kMaxMessages) {
    return reader.wrong("input", "a list of at most " + std::to_string(kMaxMessages) + " items");
  }
  json::Array out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    out.emplace_back(TRY(read_item(items[i], "input[" + std::to_string(i) + "]")));
  }
  return out;
}

}  // namespace autoglm::protocol

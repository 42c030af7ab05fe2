// SPDX-License-Identifier: Apache-2.0
#include "app/template_request.h"

#include <fmt/format.h>

namespace autoglm::app {
namespace {

std::unexpected<Error> wrong(std::string field, std::string_view expected) {
  return fail(Code::kInvalidArgument, fmt::format("{} must be {}", field, expected), field);
}

// Text parts joined by line breaks, as the server joins them.
Result<json::Value> joined(const json::Array& parts, const std::string& place) {
  std::string text;
  for (const json::Value& part : parts) {
    const json::Object* object = part.if_object();
    const json::Value* type = object == nullptr ? nullptr : object->if_contains("type");
    const json::Value* piece = object == nullptr ? nullptr : object->if_contains("text");
    if (type == nullptr || *type != "text" || piece == nullptr || !piece->is_string()) {
      return wrong(place, "a string or a list of text parts: images, audio and files are not supported");
    }
    if (!text.empty()) text.push_back('\n');
    text += std::string_view(piece->get_string());
  }
  return json::Value(text);
}

// The API writes a call's arguments as text that holds JSON; templates were written for the object itself.
void open_arguments(json::Value& calls) {
  if (!calls.is_array()) return;
  for (json::Value& call : calls.get_array()) {
    json::Value* function = call.is_object() ? call.get_object().if_contains("function") : nullptr;
    json::Value* arguments =
        function != nullptr && function->is_object() ? function->get_object().if_contains("arguments") : nullptr;
    if (arguments == nullptr || !arguments->is_string()) continue;
    base::Budget budget;
    Result<json::Value> parsed = json::parse(arguments->get_string(), budget);
    if (parsed && parsed->is_object()) *arguments = std::move(*parsed);
  }
}

Result<json::Value> read_message(const json::Value& value, const std::string& place) {
  if (!value.is_object()) return wrong(place, "an object");
  json::Object message = value.get_object();
  const json::Value* role = message.if_contains("role");
  if (role == nullptr || !role->is_string()) return wrong(place + ".role", "a string");
  if (*role == "developer") message["role"] = "system";  // templates know the older name
  if (json::Value* content = message.if_contains("content"); content != nullptr && content->is_array()) {
    *content = TRY(joined(content->get_array(), place + ".content"));
  }
  if (json::Value* calls = message.if_contains("tool_calls")) open_arguments(*calls);
  return json::Value(std::move(message));
}

}  // namespace

Result<TemplateRequest> read_template_request(std::string_view body) {
  base::Budget budget;
  const json::Value value = TRY(json::parse(body, budget));
  if (!value.is_object()) return wrong("the request", "a JSON object");
  const json::Object& object = value.get_object();
  TemplateRequest request;
  const json::Value* messages = object.if_contains("messages");
  if (messages == nullptr || !messages->is_array()) return wrong("messages", "a list");
  for (std::size_t i = 0; i < messages->get_array().size(); ++i) {
    request.messages.push_back(TRY(read_message(messages->get_array()[i], fmt::format("messages[{}]", i))));
  }
  if (const json::Value* tools = object.if_contains("tools"); tools != nullptr && !tools->is_null()) {
    if (!tools->is_array()) return wrong("tools", "a list");
    request.tools = tools->get_array();
  }
  if (const json::Value* kwargs = object.if_contains("chat_template_kwargs"); kwargs != nullptr && !kwargs->is_null()) {
    if (!kwargs->is_object()) return wrong("chat_template_kwargs", "an object");
    request.kwargs = kwargs->get_object();
  }
  if (const json::Value* adds = object.if_contains("add_generation_prompt"); adds != nullptr && !adds->is_null()) {
    if (!adds->is_bool()) return wrong("add_generation_prompt", "true or false");
    request.add_generation_prompt = adds->get_bool();
  }
  return request;
}

}  // namespace autoglm::app

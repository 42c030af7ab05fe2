// SPDX-License-Identifier: Apache-2.0
#include "agent/message.h"

#include "base/utf8.h"

namespace autoglm::agent {
namespace {

std::string_view text_at(const json::Object& object, std::string_view key) {
  const json::Value* found = object.if_contains(key);
  if (found == nullptr || !found->is_string()) return {};
  return {found->get_string().data(), found->get_string().size()};
}

json::Object plain_message(std::string_view role, std::string_view text) {
  return {{"role", role}, {"content", well_formed(text)}};
}

}  // namespace

std::string well_formed(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const base::Utf8Step step = base::utf8_step(text);
    out += step.kind == base::Utf8Step::Kind::kCharacter ? text.substr(0, step.size) : base::kReplacementCharacter;
    text.remove_prefix(step.size);
  }
  return out;
}

json::Object system_message(std::string_view text) { return plain_message("system", text); }
json::Object user_message(std::string_view text) { return plain_message("user", text); }

json::Object assistant_message(std::string_view text, const std::vector<ActionCall>& calls) {
  json::Object message = plain_message("assistant", text);
  if (calls.empty()) return message;
  json::Array list;
  for (const ActionCall& call : calls) {
    json::Object function{{"name", call.tool}, {"arguments", call.arguments}};
    json::Object element{{"id", call.id}, {"type", "function"}, {"function", std::move(function)}};
    // No template shows it: it is for who takes the run up again, and must not run half a call.
    if (call.unusable) element["unusable"] = well_formed(call.unusable->message);
    list.push_back(std::move(element));
  }
  message["tool_calls"] = std::move(list);
  return message;
}

json::Object tool_message(const ActionCall& call, std::string_view text) {
  return {{"role", "tool"}, {"tool_call_id", call.id}, {"name", call.tool}, {"content", well_formed(text)}};
}

std::string_view role_of(const json::Object& message) { return text_at(message, "role"); }
std::string_view content_of(const json::Object& message) { return text_at(message, "content"); }

std::vector<ActionCall> calls_of(const json::Object& message) {
  std::vector<ActionCall> calls;
  const json::Value* list = message.if_contains("tool_calls");
  if (list == nullptr || !list->is_array()) return calls;
  for (const json::Value& element : list->get_array()) {
    ActionCall& call = calls.emplace_back();
    if (!element.is_object()) continue;
    call.id = text_at(element.get_object(), "id");
    const json::Value* function = element.get_object().if_contains("function");
    if (function == nullptr || !function->is_object()) continue;
    call.tool = text_at(function->get_object(), "name");
    const json::Value* arguments = function->get_object().if_contains("arguments");
    if (arguments != nullptr && arguments->is_object()) call.arguments = arguments->get_object();
    if (element.get_object().contains("unusable")) {
      call.unusable = Error{Code::kInvalidArgument, std::string(text_at(element.get_object(), "unusable")), {}};
    }
  }
  return calls;
}

}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
#include "protocol/response_tools.h"

#include <algorithm>

#include "protocol/limits.h"

namespace autoglm::protocol {
namespace {

using Names = std::vector<std::string>;

Result<Names> read_names(const json::Array& list, const std::string& place) {
  Names names;
  for (const json::Value& name : list) {
    if (!name.is_string() || name.get_string().empty() || name.get_string().size() > kMaxNameBytes) {
      return fail(Code::kInvalidArgument, place + " must be a list of names", place);
    }
    names.emplace_back(name.get_string());
  }
  return names;
}

// {"tool_names":[...]}
Result<Names> read_filter(const json::Object& object, const std::string& place) {
  FieldReader filter(object, place);
  const json::Array* list = TRY(filter.array("tool_names", kMaxTools));
  TRY(filter.refuse_rest());
  return list == nullptr ? Names{} : TRY(read_names(*list, place + ".tool_names"));
}

Status read_allowed(FieldReader& tool, ServerTool& out) {
  const json::Value* allowed = tool.take("allowed_tools");
  if (allowed == nullptr) return {};
  const std::string place = tool.name_of("allowed_tools");
  if (allowed->is_array() && allowed->get_array().size() <= kMaxTools) {
    out.allowed = TRY(read_names(allowed->get_array(), place));
    return {};
  }
  if (!allowed->is_object()) return tool.wrong("allowed_tools", "a list of names or {\"tool_names\":[...]}");
  out.allowed = TRY(read_filter(allowed->get_object(), place));
  return {};
}

Status read_approval(FieldReader& tool, ServerTool& out) {
  const json::Value* rule = tool.take("require_approval");
  if (rule == nullptr) return {};
  constexpr const char* kExpected =
      "\"always\", \"never\" or {\"always\":{\"tool_names\":[...]},\"never\":{\"tool_names\":[...]}}";
  if (rule->is_string() && rule->get_string() == "always") {
    out.approval = ApprovalRule::kAlways;
  } else if (rule->is_string() && rule->get_string() == "never") {
    out.approval = ApprovalRule::kNever;
  } else if (rule->is_object()) {
    FieldReader lists(rule->get_object(), tool.name_of("require_approval"));
    if (const json::Object* always = TRY(lists.object("always"))) {
      out.always = TRY(read_filter(*always, lists.name_of("always")));
    }
    if (const json::Object* never = TRY(lists.object("never"))) {
      out.never = TRY(read_filter(*never, lists.name_of("never")));
    }
    TRY(lists.refuse_rest());
  } else {
    return tool.wrong("require_approval", kExpected);
  }
  return {};
}

Result<ServerTool> read_server(FieldReader& tool, std::size_t place) {
  // No address is called on a client's word, and none of its secrets are passed on.
  for (const char* name : {"server_url", "connector_id", "headers", "authorization"}) {
    if (tool.take(name) == nullptr) continue;
    const std::string where = tool.name_of(name);
    return fail(Code::kInvalidArgument,
                where + " is not supported here: the servers are those that the operator of this one configured, by " +
                    "their server_label",
                where);
  }
  ServerTool out;
  out.place = place;
  out.label = TRY(tool.string("server_label", kMaxNameBytes)).value_or("");
  if (out.label.empty()) return tool.wrong("server_label", "the label of a server");
  TRY(tool.string("server_description", kMaxTextBytes));  // for people; the tools describe themselves
  if (TRY(tool.boolean("defer_loading")).value_or(false)) return tool.wrong("defer_loading", "false");
  TRY(read_allowed(tool, out));
  TRY(read_approval(tool, out));
  return out;
}

Status read_one(const json::Value& value, std::size_t index, ResponseTools& out) {
  const std::string place = "tools[" + std::to_string(index) + "]";
  if (!value.is_object()) return fail(Code::kInvalidArgument, place + " must be an object", place);
  FieldReader tool(value.get_object(), place);
  const std::string type = TRY(tool.string("type", kMaxNameBytes)).value_or("");
  if (type == "function") {
    FunctionTool function = TRY(read_function(tool));
    const auto name = [](const FunctionTool& other) { return other.signature.name; };
    if (std::ranges::find(out.functions, function.signature.name, name) != out.functions.end()) {
      return fail(Code::kInvalidArgument, place + ".name: there are two tools named " + function.signature.name,
                  place + ".name");
    }
    if (TRY(tool.boolean("defer_loading")).value_or(false)) return tool.wrong("defer_loading", "false");
    out.functions.push_back(std::move(function));
    out.places.push_back(index);
  } else if (type == "mcp") {
    ServerTool server = TRY(read_server(tool, index));
    if (std::ranges::find(out.servers, server.label, &ServerTool::label) != out.servers.end()) {
      return fail(Code::kInvalidArgument, place + ".server_label: there are two servers " + server.label,
                  place + ".server_label");
    }
    out.servers.push_back(std::move(server));
  } else {
    return fail(Code::kInvalidArgument, place + ".type must be function or mcp: \"" + type + "\" is not supported here",
                place + ".type");
  }
  return tool.refuse_rest();
}

Status read_named_choice(const json::Object& object, ResponseTools& out) {
  FieldReader choice(object, "tool_choice");
  const std::string type = TRY(choice.string("type", kMaxNameBytes)).value_or("");
  out.use = ToolUse::kRequired;
  out.chosen_name = TRY(choice.string("name", kMaxNameBytes)).value_or("");
  if (type == "function") {
    const auto name = [](const FunctionTool& other) { return other.signature.name; };
    if (std::ranges::find(out.functions, out.chosen_name, name) == out.functions.end()) {
      return choice.wrong("name", "the name of one of the functions");
    }
  } else if (type == "mcp") {
    out.chosen_server = TRY(choice.string("server_label", kMaxNameBytes)).value_or("");
    if (std::ranges::find(out.servers, out.chosen_server, &ServerTool::label) == out.servers.end()) {
      return choice.wrong("server_label", "the label of one of the servers among the tools");
    }
  } else {
    return choice.wrong("type", "function or mcp");
  }
  return choice.refuse_rest();
}

Status read_response_choice(FieldReader& reader, ResponseTools& out) {
  const bool has_tools = !out.functions.empty() || !out.servers.empty();
  out.use = has_tools ? ToolUse::kAuto : ToolUse::kNone;
  const json::Value* choice = reader.take("tool_choice");
  out.shown_choice = choice == nullptr ? json::Value("auto") : *choice;
  if (choice == nullptr || *choice == json::Value("auto")) return {};
  if (*choice == json::Value("none")) {
    out.use = ToolUse::kNone;
    return {};
  }
  if (!has_tools) return reader.wrong("tool_choice", "none or auto, as there are no tools");
  if (*choice == json::Value("required")) {
    out.use = ToolUse::kRequired;
    return {};
  }
  if (choice->is_object()) return read_named_choice(choice->get_object(), out);
  return reader.wrong("tool_choice",
                      "none, auto, required, {\"type\":\"function\",\"name\":...} or {\"type\":\"mcp\",...}");
}

}  // namespace

Result<ResponseTools> read_response_tools(FieldReader& reader) {
  ResponseTools out;
  if (const json::Array* list = TRY(reader.array("tools", kMaxTools))) {
    for (std::size_t i = 0; i < list->size(); ++i) TRY(read_one((*list)[i], i, out));
    out.shown = *list;
  }
  TRY(read_response_choice(reader, out));
  out.is_parallel = TRY(reader.boolean("parallel_tool_calls")).value_or(true);
  return out;
}

}  // namespace autoglm::protocol

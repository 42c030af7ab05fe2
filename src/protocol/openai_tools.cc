// SPDX-License-Identifier: Apache-2.0
#include "protocol/openai_tools.h"

#include <algorithm>

#include "base/ascii.h"
#include "base/budget.h"
#include "protocol/limits.h"

namespace autoglm::protocol {
namespace {

constexpr std::size_t kMaxToolNameBytes = 64;

Result<FunctionTool> read_tool(const json::Value& value, const std::string& place) {
  if (!value.is_object()) return fail(Code::kInvalidArgument, place + " must be an object", place);
  FieldReader tool(value.get_object(), place);
  if (TRY(tool.string("type", kMaxNameBytes)).value_or("") != "function") {
    return tool.wrong("type", "function: other kinds of tools are not supported here");
  }
  const json::Object* inner = TRY(tool.object("function"));
  if (inner == nullptr) return tool.wrong("function", "an object");
  TRY(tool.refuse_rest());
  FieldReader function(*inner, place + ".function");
  FunctionTool out = TRY(read_function(function));
  TRY(function.refuse_rest());
  return out;
}

// none, auto, required, or the name of one.
struct Choice {
  ToolUse use = ToolUse::kAuto;
  std::string name;
};

Result<Choice> read_choice(FieldReader& reader, bool has_tools) {
  const json::Value* choice = reader.take("tool_choice");
  if (choice == nullptr) return Choice{};
  constexpr const char* kExpected = "none, auto, required or {\"type\":\"function\",\"function\":{\"name\":...}}";
  if (choice->is_string()) {
    const std::string_view word(choice->get_string().data(), choice->get_string().size());
    if (word == "none") return Choice{ToolUse::kNone, {}};
    if (word == "auto") return Choice{};
    if (word == "required" && has_tools) return Choice{ToolUse::kRequired, {}};
    return reader.wrong("tool_choice", has_tools ? kExpected : "none or auto, as there are no tools");
  }
  if (!choice->is_object()) return reader.wrong("tool_choice", kExpected);
  if (!has_tools) return reader.wrong("tool_choice", "none or auto, as there are no tools");
  FieldReader named(choice->get_object(), "tool_choice");
  if (TRY(named.string("type", kMaxNameBytes)).value_or("") != "function") return named.wrong("type", "function");
  const json::Object* inner = TRY(named.object("function"));
  if (inner == nullptr) return named.wrong("function", "an object");
  TRY(named.refuse_rest());
  FieldReader function(*inner, "tool_choice.function");
  Choice out{ToolUse::kRequired, TRY(function.string("name", kMaxNameBytes)).value_or("")};
  TRY(function.refuse_rest());
  return out;
}

Status refuse_functions(FieldReader& reader) {
  const json::Value* functions = reader.take("functions");
  if (functions != nullptr && !(functions->is_array() && functions->get_array().empty())) {
    return reader.wrong("functions", "absent: OpenAI replaced it by tools");
  }
  if (reader.take("function_call") != nullptr) {
    return reader.wrong("function_call", "absent: OpenAI replaced it by tool_choice");
  }
  return {};
}

}  // namespace

bool is_tool_name(std::string_view name) {
  const auto is_plain = [](char c) { return base::is_letter_or_digit(c) || c == '_' || c == '-'; };
  return !name.empty() && name.size() <= kMaxToolNameBytes && std::ranges::all_of(name, is_plain);
}

Result<FunctionTool> read_function(FieldReader& function) {
  FunctionTool out;
  out.signature.name = TRY(function.string("name", kMaxNameBytes)).value_or("");
  if (!is_tool_name(out.signature.name)) {
    return function.wrong("name", "1 to 64 of the characters a-z, A-Z, 0-9, _ and -");
  }
  json::Object shown = {{"name", out.signature.name}};
  if (auto description = TRY(function.string("description", kMaxTextBytes))) shown["description"] = *description;
  if (const json::Object* parameters = TRY(function.object("parameters"))) {
    if (json::format(*parameters).size() > kMaxSchemaBytes) {
      return function.wrong("parameters", "at most " + std::to_string(kMaxSchemaBytes) + " bytes");
    }
    out.signature.parameters = *parameters;
  }
  shown["parameters"] = out.signature.parameters;
  TRY(function.boolean("strict"));  // arguments always satisfy their schema here
  out.for_template = {{"type", "function"}, {"function", std::move(shown)}};
  return out;
}

Result<ToolRequest> read_tools(FieldReader& reader) {
  TRY(refuse_functions(reader));
  const json::Array* list = TRY(reader.array("tools", kMaxTools));
  const bool has_tools = list != nullptr && !list->empty();
  const Choice choice = TRY(read_choice(reader, has_tools));
  ToolRequest out;
  out.is_parallel = TRY(reader.boolean("parallel_tool_calls")).value_or(true);
  if (!has_tools) return out;
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string place = "tools[" + std::to_string(i) + "]";
    FunctionTool function = TRY(read_tool((*list)[i], place));
    const bool is_taken = std::ranges::any_of(
        out.callable, [&](const text::ToolSignature& other) { return other.name == function.signature.name; });
    if (is_taken) {
      return fail(Code::kInvalidArgument,
                  place + ".function.name: there are two tools named " + function.signature.name,
                  place + ".function.name");
    }
    out.tools.push_back(std::move(function.for_template));
    out.callable.push_back(std::move(function.signature));
    out.places.push_back(i);
  }
  out.use = choice.use;
  if (out.use == ToolUse::kNone)
    return ToolRequest{.is_parallel = out.is_parallel, .tools = {}, .callable = {}, .places = {}};
  if (choice.name.empty()) return out;
  const auto named = std::ranges::find(out.callable, choice.name, &text::ToolSignature::name);
  if (named == out.callable.end()) {
    return fail(Code::kInvalidArgument, "tool_choice names \"" + choice.name + "\", which is none of the tools",
                "tool_choice.function.name");
  }
  out.places = {static_cast<std::size_t>(named - out.callable.begin())};
  out.callable = {std::move(*named)};
  out.is_parallel = false;
  return out;
}

Result<json::Object> parse_arguments(std::string_view text) {
  base::Budget budget({.bytes = kMaxTextBytes, .steps = kMaxJsonValues, .depth = kMaxJsonDepth});
  auto value = json::parse(text, budget);
  if (value && value->is_object()) return std::move(value->get_object());
  return fail(Code::kInvalidArgument, "the arguments are not a JSON object");
}

json::Value arguments_for_template(std::string_view text) {
  if (text.empty()) return json::Object();
  auto arguments = parse_arguments(text);
  return arguments ? json::Value(std::move(*arguments)) : json::Value(text);
}

Result<std::optional<json::Array>> read_tool_calls(FieldReader& message) {
  const json::Array* list = TRY(message.array("tool_calls", kMaxTools));
  if (list == nullptr || list->empty()) return std::nullopt;
  json::Array calls;
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string place = message.name_of("tool_calls") + "[" + std::to_string(i) + "]";
    if (!(*list)[i].is_object()) return fail(Code::kInvalidArgument, place + " must be an object", place);
    FieldReader call((*list)[i].get_object(), place);
    const auto id = TRY(call.string("id", kMaxNameBytes));
    if (!id) return call.wrong("id", "a string");
    const std::string type = TRY(call.string("type", kMaxNameBytes)).value_or("function");
    if (type != "function") return call.wrong("type", "function");
    TRY(call.integer("index", 0, kMaxTools));  // streams have it, and clients send back what they gathered
    const json::Object* inner = TRY(call.object("function"));
    if (inner == nullptr) return call.wrong("function", "an object");
    TRY(call.refuse_rest());
    FieldReader function(*inner, place + ".function");
    const std::string name = TRY(function.string("name", kMaxNameBytes)).value_or("");
    if (name.empty()) return function.wrong("name", "a string");
    const std::string text = TRY(function.string("arguments", kMaxTextBytes)).value_or("");
    function.take("parsed_arguments");  // by the clients' helpers: what they read in the text, once more
    TRY(function.refuse_rest());
    calls.push_back(
        json::Object{{"id", *id},
                     {"type", "function"},
                     {"function", json::Object{{"name", name}, {"arguments", arguments_for_template(text)}}}});
  }
  return calls;
}

}  // namespace autoglm::protocol

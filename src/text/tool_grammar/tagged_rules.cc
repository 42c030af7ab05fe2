// SPDX-License-Identifier: Apache-2.0
// Calls whose arguments stand between tags: GLM's and Qwen3-Coder's. Strings stand in them as they are, without quotes
// or escapes; everything else is JSON. A schema that says more about its arguments than this can follow is held to as
// JSON in place of the tags, which our parser reads too.
#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "text/tool_calls/argument_kinds.h"
#include "text/tool_grammar/call_rules.h"

namespace autoglm::text {
namespace {

constexpr std::array<std::string_view, 8> kObjectKeywords = {"type",  "properties",  "required", "additionalProperties",
                                                             "title", "description", "$schema",  "$defs"};
constexpr std::array<std::string_view, 7> kStringKeywords = {"type",    "enum",     "title", "description",
                                                             "default", "examples", "const"};

bool has_only(const json::Object& fields, std::span<const std::string_view> keywords) {
  return std::ranges::all_of(fields, [&](const auto& field) {
    return std::ranges::find(keywords, std::string_view(field.key())) != keywords.end();
  });
}

// References are resolved from the place of a property's schema, which takes only the definitions with it.
bool refers_to_definitions(std::string_view schema) {
  for (const std::string_view keyword : {"\"$id\"", "\"$anchor\"", "\"$dynamicRef\"", "\"definitions\""}) {
    if (schema.contains(keyword)) return false;
  }
  constexpr std::string_view kReference = "\"$ref\":";
  for (std::size_t at = schema.find(kReference); at != std::string_view::npos; at = schema.find(kReference, at + 1)) {
    if (!schema.substr(at + kReference.size()).starts_with("\"#/$defs/")) return false;
  }
  return true;
}

const json::Object* properties_of(const json::Object& schema) {
  const json::Value* properties = schema.if_contains("properties");
  return properties != nullptr && properties->is_object() ? &properties->get_object() : nullptr;
}

bool is_required(const json::Object& schema, std::string_view key) {
  const json::Value* required = schema.if_contains("required");
  return required != nullptr && required->is_array() &&
         std::ranges::any_of(required->get_array(),
                             [&](const json::Value& name) { return name.is_string() && name.get_string() == key; });
}

bool is_plain_string(const json::Value& schema) {
  return kinds_of(schema) == kStringArgument && schema.is_object() && has_only(schema.get_object(), kStringKeywords);
}

// Whether tags can say all that the schema asks for.
bool has_tags(const json::Object& schema) {
  if (schema.empty()) return true;
  const json::Object* properties = properties_of(schema);
  if (properties == nullptr || !has_only(schema, kObjectKeywords) || !refers_to_definitions(json::format(schema)))
    return false;
  for (const auto& [key, property] : *properties) {
    if (kinds_of(property) == kStringArgument && !is_plain_string(property)) return false;
  }
  const json::Value* required = schema.if_contains("required");
  if (required == nullptr) return true;
  return required->is_array() && std::ranges::all_of(required->get_array(), [&](const json::Value& name) {
           return name.is_string() && properties->contains(name.get_string());
         });
}

// How a format writes what stands around names, keys and values: in Lark.
struct TagWords {
  std::string call_begin;  // before the name
  std::string name_end;
  std::string key_begin;
  std::string key_end;    // up to the value
  std::string raw;        // a text, and the end of its value
  std::string value_end;  // of any other value
  std::string argument_end;
  std::string call_end;
  std::string any_key;
};

class TaggedRules {
 public:
  TaggedRules(LarkGrammar& grammar, const Callables& callables, TagWords words)
      : grammar_(grammar), callables_(callables), words_(std::move(words)) {}

  void add() {
    grammar_.rule("own_any", "(" + argument(words_.any_key, words_.raw) + ")*");
    std::string body;
    if (callables_.any_name) {
      body = words_.call_begin + " " + any_name(grammar_) + " " + words_.name_end + " own_any " + words_.call_end;
    }
    for (std::size_t i = 0; i < callables_.tools.size() && !callables_.any_name; ++i)
      body += (i == 0 ? "" : " | ") + call_of(i);
    grammar_.rule("own_body", body);
    grammar_.rule("own", grammar_.marker("<tool_call>") + " own_body " + grammar_.marker("</tool_call>"));
  }

 private:
  std::string argument(const std::string& key, const std::string& value) const {
    return words_.key_begin + " " + key + " " + words_.key_end + " " + value + " " + words_.argument_end;
  }

  std::string call_of(std::size_t tool) {
    const ToolSignature& signature = callables_.tools[tool];
    if (!has_tags(signature.parameters)) {
      return LarkGrammar::quoted("\n{\"name\": \"" + between_quotes(signature.name) + "\", \"arguments\": ") + " " +
             arguments_rule(grammar_, callables_, tool) + " " + LarkGrammar::quoted("}\n");
    }
    std::string call = words_.call_begin + " " + LarkGrammar::quoted(signature.name) + " " + words_.name_end;
    if (signature.parameters.empty()) return call + " own_any " + words_.call_end;
    for (const auto& [key, property] : *properties_of(signature.parameters)) {
      const std::string one = argument(LarkGrammar::quoted(key), value_of(tool, key, property));
      call += " (" + one + ")" + (is_required(signature.parameters, key) ? "" : "?");
    }
    return call + " " + words_.call_end;
  }

  std::string value_of(std::size_t tool, std::string_view key, const json::Value& property) {
    if (!is_plain_string(property)) {
      json::Object schema;
      if (const json::Value* definitions = callables_.tools[tool].parameters.if_contains("$defs"))
        schema["$defs"] = *definitions;
      if (property.is_object()) {
        for (const auto& [keyword, value] : property.get_object()) schema[keyword] = value;
      } else {
        schema["allOf"] = json::Array({property});
      }
      const std::string place = json::pointer_to(place_of_parameters(tool) + "/properties", key);
      return grammar_.json(json::format(schema), place) + " " + words_.value_end;
    }
    const json::Object& fields = property.get_object();
    json::Array values;
    if (const json::Value* one = fields.if_contains("const")) values.push_back(*one);
    if (const json::Value* some = fields.if_contains("enum"); some != nullptr && values.empty())
      values = some->get_array();
    if (values.empty()) return words_.raw;
    std::string options;
    for (const json::Value& value : values) {
      if (!value.is_string()) continue;
      options += (options.empty() ? "(" : " | ") + LarkGrammar::quoted(value.get_string());
    }
    return options + ") " + words_.value_end;
  }

  LarkGrammar& grammar_;
  const Callables& callables_;
  TagWords words_;
};

}  // namespace

void add_glm_call(LarkGrammar& grammar, const Callables& callables) {
  const std::string value_end = grammar.marker("</arg_value>");
  constexpr std::string_view kRaw = R"((/(?s:.*)/ & ~/(?s:.*)<\/arg_value>(?s:.*)/))";
  grammar.rule("OWN_RAW_END", std::string(kRaw) + " \"</arg_value>\"");
  std::string raw = "OWN_RAW_END";
  if (grammar.is_special("</arg_value>")) {
    grammar.rule("OWN_RAW", kRaw);
    raw += " | OWN_RAW " + value_end;
  }
  grammar.rule("own_raw", raw);
  grammar.rule("OWN_LINE", "\"\\n\"");
  grammar.rule("OWN_KEY", "/[^<\\n]{1,64}/");
  TaggedRules(grammar, callables,
              {.name_end = "OWN_LINE?",
               .key_begin = grammar.marker("<arg_key>"),
               .key_end = grammar.marker("</arg_key>") + " OWN_LINE? " + grammar.marker("<arg_value>"),
               .raw = "own_raw",
               .value_end = value_end,
               .argument_end = "OWN_LINE?",
               .any_key = "OWN_KEY"})
      .add();
}

// The line breaks are those of the template's own example. The tags are no tokens of their own.
void add_function_call(LarkGrammar& grammar, const Callables& callables) {
  grammar.rule("OWN_RAW", R"((/(?s:.*)/ & ~/(?s:.*)<\/parameter>(?s:.*)/) "\n</parameter>\n")");
  grammar.rule("OWN_KEY", "/[^<>\\n]{1,64}/");
  TaggedRules(grammar, callables,
              {.call_begin = LarkGrammar::quoted("\n<function="),
               .name_end = LarkGrammar::quoted(">\n"),
               .key_begin = LarkGrammar::quoted("<parameter="),
               .key_end = LarkGrammar::quoted(">\n"),
               .raw = "OWN_RAW",
               .value_end = LarkGrammar::quoted("\n</parameter>\n"),
               .call_end = LarkGrammar::quoted("</function>\n"),
               .any_key = "OWN_KEY"})
      .add();
}

}  // namespace autoglm::text

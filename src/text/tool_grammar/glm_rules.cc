// SPDX-License-Identifier: Apache-2.0
// GLM's calls. Strings stand in them as they are, without quotes or escapes; everything else is JSON. A schema that
// says more about its arguments than this can follow is held to as JSON in place of the tags, which our parser reads
// too.
#include <algorithm>
#include <array>

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

class GlmRules {
 public:
  GlmRules(LarkGrammar& grammar, const Callables& callables) : grammar_(grammar), callables_(callables) {}

  void add() {
    const std::string value_end = grammar_.marker("</arg_value>");
    constexpr std::string_view kRaw = R"((/(?s:.*)/ & ~/(?s:.*)<\/arg_value>(?s:.*)/))";
    grammar_.rule("GLM_RAW_END", std::string(kRaw) + " \"</arg_value>\"");
    std::string raw = "GLM_RAW_END";
    if (grammar_.is_special("</arg_value>")) {
      grammar_.rule("GLM_RAW", kRaw);
      raw += " | GLM_RAW " + value_end;
    }
    grammar_.rule("glm_raw", raw);
    grammar_.rule("GLM_LINE", "\"\\n\"");
    grammar_.rule("glm_value", "GLM_LINE? " + grammar_.marker("<arg_value>"));
    grammar_.rule("GLM_KEY", "/[^<\\n]{1,64}/");
    grammar_.rule("glm_any", "(" + argument("GLM_KEY", "glm_raw") + ")*");
    std::string body;
    if (callables_.any_name) {
      grammar_.rule("ANY_NAME", "/[A-Za-z_][A-Za-z0-9_.\\-]{0,63}/");
      body = "ANY_NAME GLM_LINE? glm_any";
    }
    for (std::size_t i = 0; i < callables_.tools.size() && !callables_.any_name; ++i)
      body += (i == 0 ? "" : " | ") + call_of(i);
    grammar_.rule("glm_body", body);
    grammar_.rule("own", grammar_.marker("<tool_call>") + " glm_body " + grammar_.marker("</tool_call>"));
  }

 private:
  std::string argument(const std::string& key, const std::string& value) const {
    return grammar_.marker("<arg_key>") + " " + key + " " + grammar_.marker("</arg_key>") + " glm_value " + value +
           " GLM_LINE?";
  }

  std::string call_of(std::size_t tool) {
    const ToolSignature& signature = callables_.tools[tool];
    if (!has_tags(signature.parameters)) {
      return LarkGrammar::quoted("\n{\"name\": \"" + between_quotes(signature.name) + "\", \"arguments\": ") + " " +
             arguments_rule(grammar_, callables_, tool) + " " + LarkGrammar::quoted("}\n");
    }
    std::string call = LarkGrammar::quoted(signature.name) + " GLM_LINE?";
    if (signature.parameters.empty()) return call + " glm_any";
    for (const auto& [key, property] : *properties_of(signature.parameters)) {
      const std::string one = argument(LarkGrammar::quoted(key), value_of(tool, key, property));
      call += " (" + one + ")" + (is_required(signature.parameters, key) ? "" : "?");
    }
    return call;
  }

  std::string value_of(std::size_t tool, std::string_view key, const json::Value& property) {
    const std::string end = " " + grammar_.marker("</arg_value>");
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
      return grammar_.json(json::format(schema), place) + end;
    }
    const json::Object& fields = property.get_object();
    json::Array values;
    if (const json::Value* one = fields.if_contains("const")) values.push_back(*one);
    if (const json::Value* some = fields.if_contains("enum"); some != nullptr && values.empty())
      values = some->get_array();
    if (values.empty()) return "glm_raw";
    std::string options;
    for (const json::Value& value : values) {
      if (!value.is_string()) continue;
      options += (options.empty() ? "(" : " | ") + LarkGrammar::quoted(value.get_string());
    }
    return options + ")" + end;
  }

  LarkGrammar& grammar_;
  const Callables& callables_;
};

}  // namespace

void add_glm_call(LarkGrammar& grammar, const Callables& callables) { GlmRules(grammar, callables).add(); }

}  // namespace autoglm::text

// SPDX-License-Identifier: Apache-2.0
#include "text/tool_grammar/call_rules.h"

namespace autoglm::text {

std::string place_of_parameters(std::size_t tool) { return "/tools/" + std::to_string(tool) + "/function/parameters"; }

std::string between_quotes(std::string_view name) {
  std::string quoted;
  json::append_string(quoted, name);
  return quoted.substr(1, quoted.size() - 2);
}

std::string arguments_rule(LarkGrammar& grammar, const Callables& callables, std::size_t tool) {
  if (callables.any_name) return grammar.json(R"({"type":"object"})", "");
  json::Object schema = callables.tools[tool].parameters;
  if (!schema.contains("type")) schema["type"] = "object";
  return grammar.json(json::format(schema), place_of_parameters(tool));
}

std::string any_name(LarkGrammar& grammar) {
  grammar.rule("ANY_NAME", "/[A-Za-z_][A-Za-z0-9_.\\-]{0,63}/");
  return "ANY_NAME";
}

std::string named_rest(LarkGrammar& grammar, const Callables& callables, std::string_view arguments_key) {
  const std::string between = "\", \"" + std::string(arguments_key) + "\": ";
  if (callables.any_name) {
    return any_name(grammar) + " " + LarkGrammar::quoted(between) + " " + arguments_rule(grammar, callables, 0);
  }
  std::string rest;
  for (std::size_t i = 0; i < callables.tools.size(); ++i) {
    rest += (i == 0 ? "" : " | ") + LarkGrammar::quoted(between_quotes(callables.tools[i].name) + between) + " " +
            arguments_rule(grammar, callables, i);
  }
  return rest;
}

namespace {

// "name": ... of a call in a list; `more`: what may stand behind its arguments.
std::string list_of(LarkGrammar& grammar, const Callables& callables, std::size_t most, std::string_view more) {
  grammar.rule("own_named", named_rest(grammar, callables, "arguments"));
  grammar.rule("own_object", LarkGrammar::quoted("{\"name\": \"") + " own_named " + std::string(more) + " \"}\"");
  std::string next;
  if (most > 1) next = " (" + LarkGrammar::quoted(", ") + " own_object){0," + std::to_string(most - 1) + "}";
  return "\"[\" own_object" + next + " \"]\"";
}

// One of the tools, or any: its name, `between`, and its arguments.
std::string name_before_arguments(LarkGrammar& grammar, const Callables& callables, std::string_view between) {
  if (callables.any_name) {
    return any_name(grammar) + " " + std::string(between) + " " + arguments_rule(grammar, callables, 0);
  }
  std::string all;
  for (std::size_t i = 0; i < callables.tools.size(); ++i) {
    all += (i == 0 ? "" : " | ") + LarkGrammar::quoted(callables.tools[i].name) + " " + std::string(between) + " " +
           arguments_rule(grammar, callables, i);
  }
  return all;
}

}  // namespace

// The spaces are those of the template's own example, which the model has been trained on.
void add_hermes_call(LarkGrammar& grammar, const Callables& callables) {
  grammar.rule("own_named", named_rest(grammar, callables, "arguments"));
  grammar.rule("own", grammar.marker("<tool_call>") + " " + LarkGrammar::quoted("\n{\"name\": \"") + " own_named " +
                          LarkGrammar::quoted("}\n") + " " + grammar.marker("</tool_call>"));
}

void add_llama_call(LarkGrammar& grammar, const Callables& callables) {
  grammar.rule("own_named", named_rest(grammar, callables, "parameters"));
  grammar.rule("own_object", LarkGrammar::quoted("{\"name\": \"") + " own_named \"}\"");
  grammar.rule("own", grammar.marker("<|python_tag|>") + " own_object");
}

void add_json_call(LarkGrammar& grammar, const Callables& callables) {
  grammar.rule("own_named", named_rest(grammar, callables, "arguments"));
  grammar.rule("own_object", LarkGrammar::quoted("{\"name\": \"") + " own_named \"}\"");
  grammar.rule("own", LarkGrammar::quoted("```json\n") + " own_object " + LarkGrammar::quoted("\n```"));
}

// Its template shows the calls of earlier turns with ids of nine letters and digits, and so the model may write them.
void add_mistral_list(LarkGrammar& grammar, const Callables& callables, std::size_t most) {
  grammar.rule("OWN_ID", "/, \"id\": \"[A-Za-z0-9]{9}\"/");
  grammar.rule("own", grammar.marker("[TOOL_CALLS]") + " \" \"? " + list_of(grammar, callables, most, "OWN_ID?"));
}

void add_phi_list(LarkGrammar& grammar, const Callables& callables, std::size_t most) {
  grammar.rule("own", grammar.marker("<|tool_call|>") + " " + list_of(grammar, callables, most, "") + " " +
                          grammar.marker("<|/tool_call|>"));
}

void add_mistral_call(LarkGrammar& grammar, const Callables& callables) {
  grammar.rule("OWN_ID", "/[A-Za-z0-9]{9}/");
  grammar.rule("own_between", "(" + grammar.marker("[CALL_ID]") + " OWN_ID)? " + grammar.marker("[ARGS]"));
  grammar.rule("own_named", name_before_arguments(grammar, callables, "own_between"));
  grammar.rule("own", grammar.marker("[TOOL_CALLS]") + " own_named");
}

void add_line_call(LarkGrammar& grammar, const Callables& callables) {
  grammar.rule("own", name_before_arguments(grammar, callables, LarkGrammar::quoted("\n")));
}

}  // namespace autoglm::text

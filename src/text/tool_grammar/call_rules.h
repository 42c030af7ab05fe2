// SPDX-License-Identifier: Apache-2.0
// The rules of a call in each format: each add_ function adds the rule `own` (and what it needs) to a grammar. One
// thread.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "text/tool_format.h"
#include "text/tool_grammar/lark_grammar.h"

namespace autoglm::text {

// What may be called.
struct Callables {
  std::span<const ToolSignature> tools;
  bool any_name = false;
};

/// "/tools/2/function/parameters".
std::string place_of_parameters(std::size_t tool);
/// A name as it stands between the quotes of JSON.
std::string between_quotes(std::string_view name);
/// The rule of a tool's arguments as a JSON object.
std::string arguments_rule(LarkGrammar& grammar, const Callables& callables, std::size_t tool);
/// The rule of a name that stands for itself, when any goes.
std::string any_name(LarkGrammar& grammar);
/// The end of a JSON call from the name on, with its spaces where templates have them: weather", "arguments": {...}
std::string named_rest(LarkGrammar& grammar, const Callables& callables, std::string_view arguments_key);

void add_hermes_call(LarkGrammar& grammar, const Callables& callables);
void add_llama_call(LarkGrammar& grammar, const Callables& callables);
void add_json_call(LarkGrammar& grammar, const Callables& callables);
void add_glm_call(LarkGrammar& grammar, const Callables& callables);
void add_function_call(LarkGrammar& grammar, const Callables& callables);
/// Where `most` bounds the calls of a list.
void add_mistral_list(LarkGrammar& grammar, const Callables& callables, std::size_t most);
void add_phi_list(LarkGrammar& grammar, const Callables& callables, std::size_t most);
void add_mistral_call(LarkGrammar& grammar, const Callables& callables);
/// Of GLM-4; a name that is no tool's is no call there.
void add_line_call(LarkGrammar& grammar, const Callables& callables);
void add_autoglm_call(LarkGrammar& grammar, const Callables& callables);

}  // namespace autoglm::text

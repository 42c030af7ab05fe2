// SPDX-License-Identifier: Apache-2.0
// The phone agent's language has its own actions, each with its own arguments; tools only say which of its two verbs
// may be used. Source: the system prompt of the Open-AutoGLM phone agent.
#include <algorithm>

#include "text/tool_grammar/call_rules.h"

namespace autoglm::text {

void add_autoglm_call(LarkGrammar& grammar, const Callables& callables) {
  const auto has = [&](std::string_view verb) {
    return std::ranges::any_of(callables.tools, [&](const ToolSignature& tool) { return tool.name == verb; });
  };
  const bool may_do = has("do") || !has("finish");
  const bool may_finish = has("finish") || !has("do");
  grammar.rule("PHONE_TEXT", R"(/"[^"\\\n]*"/)");
  grammar.rule("PHONE_POINT", R"(/\[[0-9]{1,3}, ?[0-9]{1,3}\]/)");
  grammar.rule("PHONE_WAIT", R"(/"[0-9]{1,3} seconds"/)");
  const auto action = [](std::string_view name, std::string_view arguments) {
    return LarkGrammar::quoted(std::string(name) + "\"") + " " + std::string(arguments) + " | ";
  };
  const std::string point = LarkGrammar::quoted(", element=") + " PHONE_POINT";
  const std::string text = LarkGrammar::quoted(", text=") + " PHONE_TEXT";
  const std::string message = LarkGrammar::quoted(", message=") + " PHONE_TEXT";
  std::string actions;
  actions += action("Launch", LarkGrammar::quoted(", app=") + " PHONE_TEXT");
  actions += action("Tap", point + " (" + message + ")?");
  for (const std::string_view name : {"Long Press", "Double Tap"}) actions += action(name, point);
  for (const std::string_view name : {"Type", "Type_Name"}) actions += action(name, text);
  actions += action("Swipe",
                    LarkGrammar::quoted(", start=") + " PHONE_POINT " + LarkGrammar::quoted(", end=") + " PHONE_POINT");
  for (const std::string_view name : {"Note", "Take_over"}) actions += action(name, message);
  actions += action("Call_API", LarkGrammar::quoted(", instruction=") + " PHONE_TEXT");
  actions += action("Wait", LarkGrammar::quoted(", duration=") + " PHONE_WAIT");
  for (const std::string_view name : {"Back", "Home", "Interact"}) actions += action(name, "");
  actions.resize(actions.size() - 3);
  grammar.rule("phone_action", actions);
  std::string verbs;
  if (may_do) verbs = LarkGrammar::quoted("do(action=\"") + " phone_action \")\"";
  if (may_finish) {
    verbs += (verbs.empty() ? "" : " | ") + LarkGrammar::quoted("finish(message=") + " PHONE_TEXT \")\"";
  }
  grammar.rule("own", verbs);
}

}  // namespace autoglm::text

// SPDX-License-Identifier: Apache-2.0
#include "agent/change_question.h"

#include <utility>

#include "generation/chat_prompt.h"
#include "text/grammar.h"

namespace autoglm::agent {
namespace {

constexpr std::string_view kAnswers = R"(start: "yes" | "no" | "Yes" | "No")";

}  // namespace

Result<generation::Request> change_question(const generation::ModelCard& card, const std::string& task) {
  const json::Array messages = {
      json::Object{{"role", "user"},
                   {"content", "Here is a task:\n" + task +
                                   "\n\nDoes it ask to change something: to create, write, add, edit, move, rename or "
                                   "delete anything? Answer with yes or no."}}};
  generation::Request request;
  request.prompt = TRY(generation::encode(card, {.messages = &messages}));
  request.grammar = TRY(text::Grammar::from_lark(kAnswers, {}, card.tokenizer));
  request.sampling.temperature = 0;
  request.max_tokens = 8;
  return request;
}

bool says_change(std::string_view answer) { return !answer.starts_with("no") && !answer.starts_with("No"); }

}  // namespace autoglm::agent

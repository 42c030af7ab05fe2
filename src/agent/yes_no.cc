// SPDX-License-Identifier: Apache-2.0
#include "agent/yes_no.h"

#include <utility>

#include "generation/chat_prompt.h"
#include "text/grammar.h"

namespace autoglm::agent {
namespace {

constexpr std::string_view kAnswers = R"(start: "yes" | "no" | "Yes" | "No")";

}  // namespace

Result<generation::Request> yes_no_question(const generation::ModelCard& card, json::Array messages,
                                            const json::Array* tools, const std::string& question) {
  messages.push_back(json::Object{{"role", "user"}, {"content", question + " Answer with yes or no."}});
  generation::Request request;
  request.prompt = TRY(generation::encode_without_reasoning(card, {.messages = &messages, .tools = tools}));
  request.grammar = TRY(text::Grammar::from_lark(kAnswers, {}, card.tokenizer));
  request.sampling.temperature = 0;
  request.max_tokens = 8;
  return request;
}

bool says_yes(std::string_view answer) { return answer == "yes" || answer == "Yes"; }
bool says_no(std::string_view answer) { return answer == "no" || answer == "No"; }

}  // namespace autoglm::agent

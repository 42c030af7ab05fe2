// SPDX-License-Identifier: Apache-2.0
#include "server/response_prompts.h"

#include <algorithm>
#include <utility>

#include "generation/chat_prompt.h"
#include "protocol/response_items.h"
#include "server/generation_route.h"

namespace autoglm::server {

using protocol::ApiError;
using protocol::ToolUse;

ApiResult<protocol::Conversation> ResponsePrompts::conversation(const json::Array& made) const {
  json::Array items = job_.earlier;
  for (const auto* more : {&job_.input, &made}) items.insert(items.end(), more->begin(), more->end());
  auto read =
      protocol::read_conversation(items, [this](auto label, auto name) { return job_.tools.model_name(label, name); });
  if (!read) return std::unexpected(ApiError(std::move(read).error()));
  if (job_.request.instructions.empty()) return std::move(*read);
  // Templates take one system message, at the beginning.
  json::Array& messages = read->messages;
  const bool has_system = !messages.empty() && protocol::text_of_field(messages[0].get_object(), "role") == "system";
  std::string text = job_.request.instructions;
  if (has_system) text += "\n\n" + std::string(protocol::text_of_field(messages[0].get_object(), "content"));
  json::Object system = {{"role", "system"}, {"content", text}};
  if (has_system) {
    messages[0] = std::move(system);
  } else {
    messages.insert(messages.begin(), std::move(system));
  }
  return std::move(*read);
}

ApiResult<ResponseTurn> ResponsePrompts::next(const json::Array& messages, std::size_t turns, bool may_call_on) {
  static const json::Array kNoTools;
  static const json::Object kNoFields;
  const generation::ModelCard& card = job_.model->card();
  ResponseTurn turn;
  const bool has_tools = job_.request.tools.use != ToolUse::kNone && !job_.tools.empty();
  turn.may_call = has_tools && may_call_on;
  turn.has_tools = turn.may_call || (has_tools && turns > 0);
  const bool is_required = turn.may_call && turns == 0 && job_.request.tools.use == ToolUse::kRequired;
  turn.is_answer_json = turn.has_tools && !is_required && job_.request.format.kind != protocol::FormatKind::kText;
  auto rendered = generation::render(card, {.messages = &messages,
                                            .tools = turn.has_tools ? &job_.tools.for_template() : &kNoTools,
                                            .template_fields = &kNoFields});
  if (!rendered) return std::unexpected(callers_fault(std::move(rendered).error(), "input"));
  turn.begins_in_reasoning = generation::ends_in_reasoning(rendered->text);
  auto prompt = encode_prompt(*job_.model, rendered->text, options_of(*rendered), "input");
  if (!prompt) return std::unexpected(prompt.error());
  turn.prompt = std::move(*prompt);
  if (turn.prompt.size() >= card.context_length) {
    return std::unexpected(prompt_too_long(card, std::to_string(turn.prompt.size()), "", "input"));
  }
  auto grammar = grammar_of(turn, is_required);
  if (!grammar) return std::unexpected(grammar.error());
  turn.grammar = std::move(*grammar);
  return turn;
}

ApiResult<std::shared_ptr<const text::Grammar>> ResponsePrompts::grammar_of(const ResponseTurn& turn,
                                                                            bool is_required) {
  const generation::ModelCard& card = job_.model->card();
  if (turn.may_call) return grammar_of_calls(is_required, turn.begins_in_reasoning);
  if (!turn.has_tools) return compile_format(card, job_.request.format);
  // An answer that is no call.
  return compile_tools(card, {.begins_in_reasoning = turn.begins_in_reasoning}, job_.request.format);
}

ApiResult<std::shared_ptr<const text::Grammar>> ResponsePrompts::grammar_of_calls(bool is_required,
                                                                                  bool begins_in_reasoning) {
  if (grammar_ != nullptr && grammar_is_required_ == is_required && grammar_in_reasoning_ == begins_in_reasoning) {
    return grammar_;
  }
  std::vector<text::ToolSignature> tools;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < job_.tools.signatures().size(); ++i) {
    if (is_required && std::ranges::find(job_.tools.chosen(), i) == job_.tools.chosen().end()) continue;
    tools.push_back(job_.tools.signatures()[i]);
    places.push_back(job_.tools.places()[i]);
  }
  auto grammar = compile_tools(job_.model->card(),
                               {.tools = tools,
                                .places = places,
                                .is_required = is_required,
                                .is_parallel = job_.request.tools.is_parallel && job_.request.tools.chosen_name.empty(),
                                .begins_in_reasoning = begins_in_reasoning,
                                .is_flat = true},
                               job_.request.format);
  if (!grammar) return grammar;
  grammar_is_required_ = is_required;
  grammar_in_reasoning_ = begins_in_reasoning;
  return grammar_ = std::move(*grammar);
}

}  // namespace autoglm::server

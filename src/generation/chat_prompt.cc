// SPDX-License-Identifier: Apache-2.0
#include "generation/chat_prompt.h"

namespace autoglm::generation {

Result<text::RenderedPrompt> render(const ModelCard& card, const ChatPrompt& prompt) {
  if (card.chat_template == nullptr) {
    return fail(Code::kInvalidArgument, "this model has no chat template; use /v1/completions", "messages");
  }
  text::ChatTemplate::Inputs inputs;
  inputs.messages = prompt.messages;
  inputs.tools = prompt.tools;
  inputs.kwargs = prompt.template_fields;
  inputs.add_generation_prompt = prompt.add_generation_prompt;
  inputs.special = text::control_spellings(*card.tokenizer);
  return card.chat_template->render(inputs);
}

Result<std::vector<text::TokenId>> encode(const ModelCard& card, const ChatPrompt& prompt) {
  const text::RenderedPrompt rendered = TRY(render(card, prompt));
  return card.tokenizer->encode(rendered.text, {.add_special = false, .parse_special = true, .plain = rendered.plain});
}

}  // namespace autoglm::generation

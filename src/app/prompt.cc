// SPDX-License-Identifier: Apache-2.0
#include "app/prompt.h"

namespace autoglm::app {

Result<text::RenderedPrompt> render_chat(const text::ChatTemplate& chat_template, const text::Tokenizer& tokenizer,
                                         const json::Array& messages) {
  text::ChatTemplate::Inputs inputs;
  inputs.messages = &messages;
  inputs.special = text::control_spellings(tokenizer);
  return chat_template.render(inputs);
}

Result<std::vector<text::TokenId>> encode_chat(const text::Tokenizer& tokenizer, const text::RenderedPrompt& prompt) {
  return tokenizer.encode(prompt.text, {.add_special = false, .parse_special = true, .plain = prompt.plain});
}

Result<std::vector<text::TokenId>> encode_plain(const text::Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.encode(text, {.add_special = true, .parse_special = false});
}

}  // namespace autoglm::app

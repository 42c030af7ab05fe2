// SPDX-License-Identifier: Apache-2.0
#include "app/prompt.h"

namespace autoglm::app {

std::vector<std::string> special_spellings(const text::Tokenizer& tokenizer) {
  std::vector<std::string> spellings;
  for (std::size_t id = 0; id < tokenizer.vocab(); ++id) {
    const auto token = static_cast<text::TokenId>(id);
    if (tokenizer.is_special(token)) spellings.emplace_back(tokenizer.token_bytes(token));
  }
  return spellings;
}

Result<text::RenderedPrompt> render_chat(const text::ChatTemplate& chat_template, const text::Tokenizer& tokenizer,
                                         const json::Array& messages) {
  text::ChatTemplate::Inputs inputs;
  inputs.messages = &messages;
  inputs.special = special_spellings(tokenizer);
  return chat_template.render(inputs);
}

Result<std::vector<text::TokenId>> encode_chat(const text::Tokenizer& tokenizer, const text::RenderedPrompt& prompt) {
  return tokenizer.encode(prompt.text, {.add_special = false, .parse_special = true, .plain = prompt.plain});
}

Result<std::vector<text::TokenId>> encode_plain(const text::Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.encode(text, {.add_special = true, .parse_special = false});
}

}  // namespace autoglm::app

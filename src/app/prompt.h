// SPDX-License-Identifier: Apache-2.0
// A conversation, or plain text, as the token ids that a model continues. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "generation/generator.h"
#include "text/chat_template.h"

namespace autoglm::app {

/// Renders `messages` with the model's own template. Special-token spellings inside them stay plain text.
Result<text::RenderedPrompt> render_chat(const text::ChatTemplate& chat_template, const text::Tokenizer& tokenizer,
                                         const json::Array& messages);

/// Ids of a rendered chat (which names its own bos).
Result<std::vector<text::TokenId>> encode_chat(const text::Tokenizer& tokenizer, const text::RenderedPrompt& prompt);

/// Ids of plain text, with the special tokens that the tokenizer adds around it.
Result<std::vector<text::TokenId>> encode_plain(const text::Tokenizer& tokenizer, std::string_view text);

}  // namespace autoglm::app

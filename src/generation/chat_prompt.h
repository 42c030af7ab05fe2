// SPDX-License-Identifier: Apache-2.0
// From messages to a prompt's tokens with the model's own chat template: what server, agent and terminal chat share.
// Control tokens that a caller spelled stay text. Any thread.
#pragma once

#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "generation/generator.h"

namespace autoglm::generation {

struct ChatPrompt {
  const json::Array* messages = nullptr;
  const json::Array* tools = nullptr;             // as the template wants them; may be null
  const json::Object* template_fields = nullptr;  // chat_template_kwargs; may be null
  bool add_generation_prompt = true;
};

/// Errors: kInvalidArgument (no chat template; the template refuses the messages), kExhausted (template budget).
Result<text::RenderedPrompt> render(const ModelCard& card, const ChatPrompt& prompt);
Result<std::vector<text::TokenId>> encode(const ModelCard& card, const ChatPrompt& prompt);

}  // namespace autoglm::generation

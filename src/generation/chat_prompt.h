// SPDX-License-Identifier: Apache-2.0
// From messages to a prompt's tokens with the model's own chat template: what server, agent and terminal chat share.
// Control tokens that a caller spelled stay text. A template that knows no tools is told of them in words. Any thread.
#pragma once

#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "generation/generator.h"

namespace autoglm::generation {

struct ChatPrompt {
  // {"role","content"}; of an assistant also "tool_calls"
  // [{"id","type":"function","function":{"name","arguments":{}}}], of a tool "tool_call_id" and "name". Arguments that
  // are no JSON object are a string; a template that cannot show one is given {} in its place.
  const json::Array* messages = nullptr;
  const json::Array* tools = nullptr;             // [{"type":"function","function":{...}}]; may be null or empty
  const json::Object* template_fields = nullptr;  // chat_template_kwargs; may be null
  bool add_generation_prompt = true;
};

/// Errors: kInvalidArgument (no chat template; the template refuses the messages), kExhausted (template budget). Both
/// are counted as the card's stages: template and tokenise.
Result<text::RenderedPrompt> render(const ModelCard& card, const ChatPrompt& prompt);
Result<std::vector<text::TokenId>> encode(const ModelCard& card, const ChatPrompt& prompt);

/// Whether a prompt ends within reasoning that its template begins: what the model writes next is thought.
bool ends_in_reasoning(std::string_view prompt);
/// As encode(), with reasoning that the template begins ended at once: for a question that wants no thought.
Result<std::vector<text::TokenId>> encode_without_reasoning(const ModelCard& card, const ChatPrompt& prompt);
Result<std::vector<text::TokenId>> encode(const ModelCard& card, const text::RenderedPrompt& prompt);

/// Tokenizer::encode(), counted as the stage tokenise.
Result<std::vector<text::TokenId>> encode(const ModelCard& card, std::string_view text,
                                          const text::Tokenizer::EncodeOptions& options);

/// The same conversation for a template without tools: they stand in the system text, calls and results in the text of
/// their messages.
json::Array with_tools_in_words(const json::Array& messages, const json::Array& tools);

}  // namespace autoglm::generation

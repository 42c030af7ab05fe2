// SPDX-License-Identifier: Apache-2.0
// Renders a chat into a prompt with the checkpoint's own Jinja template (bridge/, minijinja with fuel). Immutable; any
// thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/tokenizer.h"

namespace autoglm::text {

struct RenderedPrompt {
  std::string text;
  std::vector<PlainRange> plain;  // where special-token spellings came from the caller and must stay text
};

class ChatTemplate {
 public:
  virtual ~ChatTemplate() = default;

  /// Compiles a template; `bos`, `eos` are the token texts it may name. Errors: kInvalidArgument with the line,
  /// kExhausted.
  static Result<std::unique_ptr<ChatTemplate>> parse(std::string_view source, std::string_view bos,
                                                     std::string_view eos);

  struct Inputs {
    const json::Array* messages = nullptr;  // as in the request; null values are dropped, as transformers does
    const json::Array* tools = nullptr;     // may be null
    const json::Object* kwargs =
        nullptr;  // chat_template_kwargs, in a namespace of their own: they never override ours
    bool add_generation_prompt = true;
    std::vector<std::string> special;  // spellings of control tokens, to be kept plain in the caller's strings
  };
  /// Errors: kInvalidArgument (raise_exception, or a template error), kExhausted (fuel, depth, output).
  virtual Result<RenderedPrompt> render(const Inputs& inputs) const = 0;
  /// The template's own text, by which tool_format_of() knows how its model writes calls. Empty: it has none.
  virtual std::string_view source() const { return {}; }
};

}  // namespace autoglm::text

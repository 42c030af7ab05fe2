// SPDX-License-Identifier: Apache-2.0
// Tokenizer and chat template of a model, without its weights. Immutable; any thread, with or without the GIL.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "app/model_choice.h"
#include "generation/generator.h"

namespace autoglm::python {

class Words final {
 public:
  /// Throws: Failure, as model::load_text() and engine::load_script() fail.
  explicit Words(const app::ModelChoice& choice);

  /// All throw Failure with the errors of Tokenizer and generation::render().
  std::vector<std::int32_t> encode(std::string_view text, bool add_special, bool parse_special) const;
  std::string decode(std::span<const std::int32_t> ids, bool skip_special) const;

  // A chat in JSON, as the API takes it.
  struct Chat {
    std::string messages;
    std::optional<std::string> tools;
    std::optional<std::string> template_fields;
    bool add_generation_prompt = true;
  };
  std::string render(const Chat& chat) const;
  std::vector<std::int32_t> encode(const Chat& chat) const;

  const generation::ModelCard& card() const { return card_; }

 private:
  generation::ModelCard card_;  // its words only
};

}  // namespace autoglm::python

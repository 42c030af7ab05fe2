// SPDX-License-Identifier: Apache-2.0
// A grammar in the making: rules in llguidance's Lark, with the schemas that stand in it and where each of them came
// from. Building it never fails; compiling may. One thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "text/grammar.h"
#include "text/tokenizer.h"
#include "text/tool_grammar/pattern.h"

namespace autoglm::text {

// Free text, and what it may not hold because it begins something else.
struct FreeText {
  std::vector<Pattern> anywhere;     // begin with an ASCII character that is nowhere else in them
  std::string firsts;                // those characters
  std::optional<Pattern> line;       // at the beginning of a line, the first one too
  std::string line_firsts;           // the characters that it may begin with
  std::optional<Pattern> beginning;  // of the text
  std::size_t max_bytes = 0;         // 0: as much as the model likes
};

class LarkGrammar final {
 public:
  explicit LarkGrammar(std::shared_ptr<const Tokenizer> tokenizer) : tokenizer_(std::move(tokenizer)) {}

  void rule(std::string_view name, std::string_view body);
  /// A text as Lark writes it.
  static std::string quoted(std::string_view text);
  /// A text that may be one token of the vocabulary, special or not.
  std::string marker(std::string_view text) const;
  /// Whether it is a special token: text cannot hold it.
  bool is_special(std::string_view text) const;
  /// The rule of a JSON value of that schema, which is found at `place`.
  std::string json(std::string schema, std::string place);
  /// Adds the rule `name`: such a text, of at least one character.
  void free_text(const std::string& name, const FreeText& text);

  /// Errors: as Grammar::from_lark, Error::where below the place of the schema.
  Result<std::shared_ptr<const Grammar>> compile() const;

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::string rules_;
  std::vector<std::string> schemas_;
  std::vector<std::string> places_;
};

}  // namespace autoglm::text

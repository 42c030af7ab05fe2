// SPDX-License-Identifier: Apache-2.0
// Constrained decoding: which tokens may come next so that the text stays within a JSON schema (bridge/, llguidance).
// A Grammar is compiled once per request by the server; a Matcher is one sequence's place in it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace autoglm::text {

// One sequence's place in a grammar. One thread at a time.
class Matcher {
 public:
  virtual ~Matcher() = default;
  /// Writes the allowed tokens as bits, 32 to a word, [ceil(vocab / 32)]. Errors: kExhausted (budget), kInternal.
  virtual Status mask(std::span<std::uint32_t> words) = 0;
  /// Moves on by a token. kInvalidArgument when the grammar forbids it.
  virtual Status accept(TokenId token) = 0;
  /// The tokens of the text that must follow because the grammar leaves no choice; often none. The text is forced, not
  /// its tokens: they spell it as the tokenizer would, where a mask may allow other spellings of it too. They are
  /// allowed, and to be accepted one by one. The last of what is forced is left out where a longer token could take it
  /// in, and so is everything from a marker on that the vocabulary holds whole (<tool_call>), which models spell in
  /// pieces too. Overwrites `tokens`, which grows when its capacity does not do. Errors: kExhausted, kInternal.
  virtual Status forced(std::vector<TokenId>& tokens) {
    tokens.clear();
    return {};
  }
  /// True when the text so far is complete and nothing may follow but the end.
  virtual bool is_finished() const = 0;
};

// Compiled and immutable; any thread. Keeps its tokenizer alive.
class Grammar {
 public:
  virtual ~Grammar() = default;
  /// From a JSON schema (draft 2020-12). A schema that cannot be honoured is kInvalidArgument, Error::where = JSON
  /// pointer into it; kExhausted when it is too large.
  static Result<std::shared_ptr<const Grammar>> from_json_schema(std::string_view schema,
                                                                 std::shared_ptr<const Tokenizer> tokenizer);
  /// From a grammar of our own in llguidance's Lark, in which the rule @si stands for schemas[i]. Errors as above,
  /// where =
  /// "/i" and the pointer into that schema.
  static Result<std::shared_ptr<const Grammar>> from_lark(std::string_view lark, std::span<const std::string> schemas,
                                                          std::shared_ptr<const Tokenizer> tokenizer);
  /// Any JSON object (response_format json_object).
  static Result<std::shared_ptr<const Grammar>> any_json_object(std::shared_ptr<const Tokenizer> tokenizer);
  virtual Result<std::unique_ptr<Matcher>> start() const = 0;
};

}  // namespace autoglm::text

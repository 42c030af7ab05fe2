// SPDX-License-Identifier: Apache-2.0
// A script: rules from a pattern on the rendered prompt to a reply (docs/formats/script.md). Immutable; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace autoglm::engine {

// The scripted model's vocabulary: a token for each byte, then these.
enum ScriptToken : text::TokenId {
  kSystemToken = 256,
  kUserToken,
  kAssistantToken,
  kToolToken,
  kEndToken,
  kReplyToken,  // ends a prompt that is not a chat
};
inline constexpr std::size_t kScriptVocab = 262;

/// "<|user|>", ...: the spelling of a token above the bytes.
std::string_view script_token_text(text::TokenId token);

// What the model says, token by token.
class ScriptReply final {
 public:
  static constexpr text::TokenId kAnyLetter = -1;

  void append(text::TokenId slot) { slots_.push_back(slot); }
  void repeat_for_ever() { repeats_ = true; }
  bool repeats() const { return repeats_; }
  bool is_empty() const { return slots_.empty(); }
  std::size_t size() const { return slots_.size(); }
  /// The token after `said` tokens of the reply: kAnyLetter where the script leaves it to chance, kEndToken after its
  /// end.
  text::TokenId slot(std::size_t said) const {
    if (repeats_) return slots_[said % slots_.size()];
    return said < slots_.size() ? slots_[said] : static_cast<text::TokenId>(kEndToken);
  }

 private:
  std::vector<text::TokenId> slots_;
  bool repeats_ = false;
};

class Script final {
 public:
  /// Errors: kInvalidArgument with the line, kExhausted when larger than 1 MiB, 4096 rules or 1 Mi tokens of replies.
  static Result<Script> parse(std::string_view text);

  /// The reply of the first rule whose pattern the prompt holds; a fixed sentence when there is none.
  const ScriptReply& reply_to(std::string_view prompt) const;
  std::size_t rule_count() const { return rules_.size(); }

 private:
  struct Rule {
    std::vector<std::string> parts;  // the pattern, cut at *: must occur in this order
    ScriptReply reply;
  };
  std::vector<Rule> rules_;
  ScriptReply no_rule_;
};

}  // namespace autoglm::engine

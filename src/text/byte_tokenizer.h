// SPDX-License-Identifier: Apache-2.0
// A vocabulary for tests of grammars: all bytes, a few longer tokens, special ones, and an end. What a grammar needs of
// a tokenizer, and nothing else. Immutable; any thread.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace autoglm::text {

class ByteTokenizer final : public Tokenizer {
 public:
  explicit ByteTokenizer(const std::vector<std::string_view>& words = {},
                         const std::vector<std::string_view>& specials = {}) {
    for (int byte = 0; byte < 256; ++byte) tokens_.emplace_back(1, static_cast<char>(byte));
    tokens_.insert(tokens_.end(), words.begin(), words.end());
    first_special_ = tokens_.size();
    tokens_.insert(tokens_.end(), specials.begin(), specials.end());
    eos_ = {static_cast<TokenId>(tokens_.size())};
    tokens_.emplace_back("<end>");
    tokens_.emplace_back();  // an unused id
  }

  Result<std::vector<TokenId>> encode(std::string_view text, const EncodeOptions&) const override {
    std::vector<TokenId> ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  Result<std::string> decode(std::span<const TokenId>, bool) const override { return ""; }
  std::size_t vocab() const override { return tokens_.size(); }
  std::string_view token_bytes(TokenId id) const override { return tokens_.at(static_cast<std::size_t>(id)); }
  bool is_special(TokenId id) const override { return id >= static_cast<TokenId>(first_special_) && id <= eos_[0]; }
  TokenId id_of(std::string_view token) const override {
    const auto found = std::ranges::find(tokens_, token);
    return found == tokens_.end() ? -1 : static_cast<TokenId>(found - tokens_.begin());
  }
  TokenId bos() const override { return -1; }
  std::span<const TokenId> eos() const override { return eos_; }
  bool adds_bos() const override { return false; }
  bool strips_leading_space() const override { return false; }

 private:
  std::vector<std::string> tokens_;
  std::size_t first_special_ = 0;
  std::vector<TokenId> eos_;
};

}  // namespace autoglm::text

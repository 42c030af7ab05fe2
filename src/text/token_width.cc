// SPDX-License-Identifier: Apache-2.0
// How much text a token can stand for at most: what tells without tokenizing that a text cannot fit.
#include <algorithm>
#include <bitset>

#include "text/tokenizer.h"

namespace autoglm::text {
namespace {

// What a normalizer may drop or shorten, but for composing: runs of spaces, capitals, ligatures, controls.
constexpr std::string_view kPlain = "  a  b\n\n\t c A \uFB01 \u2002 \uFF21 \u200B\u00E9 \x01 ab  ";
// Two characters that compose to one of fewer bytes.
constexpr std::string_view kComposing = "e\u0301";
// No composed character is more than three times shorter than its parts: U+0390, of 2 bytes, has parts of 6, and the
// Hangul syllables, of 3 bytes, have parts of 9 (UAX #15).
constexpr std::size_t kMostComposed = 3;

// A vocabulary with every byte of UTF-8 knows no unknown characters, of which a whole run may be one token.
bool has_every_byte(const Tokenizer& tokenizer) {
  std::bitset<256> seen;
  for (std::size_t id = 0; id < tokenizer.vocab(); ++id) {
    const std::string_view bytes = tokenizer.token_bytes(static_cast<TokenId>(id));
    if (bytes.size() == 1) seen.set(static_cast<unsigned char>(bytes[0]));
  }
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool is_of_utf8 = byte != 0xC0 && byte != 0xC1 && byte <= 0xF4;
    if (is_of_utf8 && !seen[byte]) return false;
  }
  return true;
}

bool keeps_bytes(const Tokenizer& tokenizer, std::string_view text) {
  const auto ids = tokenizer.encode(text, {});
  if (!ids) return false;
  std::size_t bytes = 0;
  for (const TokenId id : *ids) bytes += tokenizer.token_bytes(id).size();
  return bytes >= text.size();
}

}  // namespace

std::size_t most_bytes_of_a_token(const Tokenizer& tokenizer) {
  if (!tokenizer.has_text() || !has_every_byte(tokenizer) || !keeps_bytes(tokenizer, kPlain)) return 0;
  std::size_t longest = 0;
  for (std::size_t id = 0; id < tokenizer.vocab(); ++id)
    longest = std::max(longest, tokenizer.token_bytes(static_cast<TokenId>(id)).size());
  return keeps_bytes(tokenizer, kComposing) ? longest : kMostComposed * longest;
}

}  // namespace autoglm::text

// SPDX-License-Identifier: Apache-2.0
#include "store/note_words.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "base/utf8.h"

namespace autoglm::store {
namespace {

constexpr std::size_t kMaxWords = 32;
constexpr std::size_t kMaxWordBytes = 64;

// Words that say nothing about what a note is about: they would call up every note.
constexpr std::array<std::string_view, 38> kStopWords = {
    "a",    "an", "and", "are",  "as",   "at",    "be",    "by",  "can",  "do",   "for", "from", "has",
    "how",  "i",  "in",  "is",   "it",   "me",    "my",    "not", "of",   "on",   "or",  "that", "the",
    "this", "to", "was", "what", "when", "where", "which", "who", "will", "with", "you", "your"};

bool is_stop_word(std::string_view word) {
  return std::ranges::any_of(kStopWords, [&](std::string_view stop) {
    return std::ranges::equal(word, stop, [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
  });
}

enum class Kind { kSpace, kLetter, kUnspaced };

struct Character {
  std::string_view bytes;
  Kind kind = Kind::kSpace;
};

// Blocks of Unicode 15: kana, bopomofo, CJK ideographs with extensions and compatibility forms, Hangul syllables.
bool is_unspaced(std::uint32_t code) {
  return (code >= 0x3040 && code <= 0x312F) || (code >= 0x31A0 && code <= 0x31BF) ||
         (code >= 0x3400 && code <= 0x4DBF) || (code >= 0x4E00 && code <= 0x9FFF) ||
         (code >= 0xAC00 && code <= 0xD7AF) || (code >= 0xF900 && code <= 0xFAFF) ||
         (code >= 0x20000 && code <= 0x323AF);
}

std::uint32_t code_of(std::string_view bytes) {
  const auto lead = static_cast<unsigned char>(bytes[0]);
  if (bytes.size() == 1) return lead;
  std::uint32_t code = lead & (0x7Fu >> bytes.size());
  for (std::size_t i = 1; i < bytes.size(); ++i) code = code << 6 | (static_cast<unsigned char>(bytes[i]) & 0x3Fu);
  return code;
}

// Only ASCII is told apart here; the tokenizer of the index knows the punctuation of other scripts.
bool is_ascii_space(unsigned char byte) {
  return byte < 0x80 && !((byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z'));
}

Character take(std::string_view& text) {
  const base::Utf8Step step = base::utf8_step(text);
  Character character{text.substr(0, step.size)};
  if (step.kind == base::Utf8Step::Kind::kCharacter) {
    const std::uint32_t code = code_of(character.bytes);
    character.kind = is_unspaced(code)                                                 ? Kind::kUnspaced
                     : code < 0x80 && is_ascii_space(static_cast<unsigned char>(code)) ? Kind::kSpace
                                                                                       : Kind::kLetter;
  }
  text.remove_prefix(step.size);
  return character;
}

}  // namespace

std::string indexed_words(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character character = take(text);
    if (character.kind == Kind::kSpace) {
      out += ' ';
      continue;
    }
    if (character.kind == Kind::kUnspaced) out += ' ';
    out += character.bytes;
    if (character.kind == Kind::kUnspaced) out += ' ';
  }
  return out;
}

std::string match_query(std::string_view words) {
  // Quoted strings are FTS5's phrases; no quote is ever part of one, since it counts as a space.
  std::vector<std::string> phrases;
  std::string word;
  std::string_view before;  // the unspaced character just before, whose pair is not made yet or was
  bool has_pair = false;
  const auto end_word = [&] {
    if (!word.empty() && !is_stop_word(word)) phrases.push_back('"' + word + '"');
    word.clear();
  };
  const auto end_unspaced = [&] {
    if (!before.empty() && !has_pair) phrases.push_back('"' + std::string(before) + '"');
    before = {};
    has_pair = false;
  };
  while (!words.empty() && phrases.size() < kMaxWords) {
    const Character character = take(words);
    if (character.kind != Kind::kLetter) end_word();
    if (character.kind != Kind::kUnspaced) end_unspaced();
    if (character.kind == Kind::kLetter && word.size() + character.bytes.size() <= kMaxWordBytes) {
      word += character.bytes;
    }
    if (character.kind == Kind::kUnspaced) {
      if (!before.empty()) {
        phrases.push_back('"' + std::string(before) + ' ' + std::string(character.bytes) + '"');
        has_pair = true;
      }
      before = character.bytes;
    }
  }
  end_word();
  end_unspaced();
  std::string query;
  for (const std::string& phrase : phrases) query += (query.empty() ? "" : " OR ") + phrase;
  return query;
}

}  // namespace autoglm::store

// SPDX-License-Identifier: Apache-2.0
#include "text/tool_grammar/lark_grammar.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace autoglm::text {
namespace {

// Where text is bounded it is counted in pieces of at most so many characters.
constexpr std::size_t kPiece = 32;

std::string upper(std::string_view name) {
  std::string all(name);
  for (char& c : all) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c;
  return all;
}

}  // namespace

void LarkGrammar::rule(std::string_view name, std::string_view body) {
  rules_.append(name).append(": ").append(body).append("\n");
}

std::string LarkGrammar::quoted(std::string_view text) {
  std::string all;
  for (const char c : text) {
    std::string one;
    if (c == '\x7f') {
      one = "\"\\u007f\"";
    } else if (static_cast<unsigned char>(c) < 0x80) {
      json::append_string(one, std::string_view(&c, 1));
    } else {
      all += c;
      continue;
    }
    all += one.substr(1, one.size() - 2);
  }
  return "\"" + all + "\"";
}

bool LarkGrammar::is_special(std::string_view text) const {
  const TokenId id = tokenizer_->id_of(text);
  return id >= 0 && tokenizer_->is_special(id);
}

std::string LarkGrammar::marker(std::string_view text) const {
  if (!is_special(text)) return quoted(text);
  return "(" + quoted(text) + " | <[" + std::to_string(tokenizer_->id_of(text)) + "]>)";
}

std::string LarkGrammar::json(std::string schema, std::string place) {
  const auto same = std::ranges::find(schemas_, schema);
  if (same == schemas_.end()) {
    schemas_.push_back(std::move(schema));
    places_.push_back(std::move(place));
    return "@s" + std::to_string(schemas_.size() - 1);
  }
  return "@s" + std::to_string(same - schemas_.begin());
}

// The lexer takes the longest match and never steps back, so a text is cut into pieces that end where it is certain
// what they are: plain characters; a beginning of something forbidden with the character that makes it harmless (OFF);
// or such a beginning alone (PART), behind which the next one begins, or the text ends. No piece follows a PART that
// could make it whole.
void LarkGrammar::free_text(const std::string& name, const FreeText& text) {
  if (text.anywhere.empty() && !text.line) return rule(name, "/(?s:.+)/");
  std::string firsts;
  for (const char c : text.firsts) firsts += escaped(c);
  std::string line_firsts;
  for (const char c : text.line_firsts) line_firsts += escaped(c);
  if (text.line) firsts += "\\n";
  std::vector<Pattern> inside = text.anywhere;
  if (text.line) inside.push_back(sequence({literal("\n"), *text.line}));
  std::vector<Pattern> first = inside;
  if (text.line) first.push_back(*text.line);
  if (text.beginning) first.push_back(*text.beginning);

  const bool is_cut = text.max_bytes > 0;
  const std::string plain = "[^" + firsts + "]";
  const std::string terminal = upper(name);
  const auto add = [&](const std::string& kind, const Pattern& forbidden, const std::string& begin) {
    rule(terminal + kind + "PLAIN",
         "/" + begin + plain + (is_cut ? "{0," + std::to_string(kPiece - 1) + "}" : "*") + "/");
    rule(terminal + kind + "PART", "/(?s:.+)/ & /" + forbidden.part + "/");
    rule(terminal + kind + "OFF",
         "/(?:" + forbidden.part + ")" + plain + "/ & ~/" + forbidden.part + "|" + forbidden.all + "/ & /(?s:..+)/");
  };
  add("_", either(inside), plain);
  add("_BEGIN_", either(first), text.line ? "[^" + firsts + line_firsts + "]" : plain);
  const auto piece = [&](std::string_view kind) { return terminal + std::string(kind); };
  const std::string parts = piece("_PART") + (is_cut ? "{0,8}" : "*");
  const std::size_t pieces = text.max_bytes / (4 * kPiece);  // a character has up to four bytes
  const std::string more = text.max_bytes == 0 ? "*" : "{0," + std::to_string(std::max<std::size_t>(pieces, 1)) + "}";
  rule(name + "_rest", "(" + piece("_PLAIN") + " | " + parts + " " + piece("_OFF") + ")" + more + " " + parts);
  rule(name, "(" + piece("_BEGIN_PLAIN") + " | " + piece("_BEGIN_OFF") + ") " + name + "_rest | " +
                 piece("_BEGIN_PART") + " " + parts + " (" + piece("_OFF") + " " + name + "_rest)?");
}

Result<std::shared_ptr<const Grammar>> LarkGrammar::compile() const {
  auto grammar = Grammar::from_lark(rules_, schemas_, tokenizer_);
  if (grammar || grammar.error().where.empty()) return grammar;
  Error error = std::move(grammar).error();
  const std::string_view where = error.where;
  const std::size_t end = std::min(where.find('/', 1), where.size());
  std::size_t index = places_.size();
  std::from_chars(where.data() + 1, where.data() + end, index);
  if (index < places_.size()) error.where = places_[index] + std::string(where.substr(end));
  return std::unexpected(std::move(error));
}

}  // namespace autoglm::text

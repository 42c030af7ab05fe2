// SPDX-License-Identifier: Apache-2.0
#include "text/tool_grammar/pattern.h"

namespace autoglm::text {

std::string escaped(char c) {
  if (c == '\n') return "\\n";
  if (c == '\t') return "\\t";
  if (c == '\r') return "\\r";
  const bool is_word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  const bool is_ascii = static_cast<unsigned char>(c) < 0x80;
  return is_word || !is_ascii || c == ' ' || c == '<' || c == '>' ? std::string(1, c) : std::string("\\") + c;
}

Pattern literal(std::string_view text) {
  Pattern pattern;
  std::size_t at = text.size();
  while (at > 0) {
    // A character that is more than a byte is not taken apart.
    std::size_t begin = at - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    std::string character;
    for (const char c : text.substr(begin, at - begin)) character += escaped(c);
    if (at < text.size()) pattern.part = "(?:" + character + pattern.part + ")?";
    pattern.all.insert(0, character);
    at = begin;
  }
  return pattern;
}

Pattern any_number(std::string_view character_class) {
  const std::string all = "[" + std::string(character_class) + "]*";
  return {all, all};
}

Pattern up_to(std::string_view character_class, std::size_t count) {
  const std::string all = "[" + std::string(character_class) + "]{0," + std::to_string(count) + "}";
  return {all, all};
}

Pattern sequence(const std::vector<Pattern>& parts) {
  Pattern all;
  std::string options;
  for (const Pattern& part : parts) {
    options += (options.empty() ? "" : "|") + all.all + part.part;
    all.all += part.all;
  }
  all.part = "(?:" + options + ")";
  return all;
}

Pattern either(const std::vector<Pattern>& options) {
  Pattern any;
  for (const Pattern& option : options) {
    any.all += (any.all.empty() ? "" : "|") + option.all;
    any.part += (any.part.empty() ? "" : "|") + option.part;
  }
  return {"(?:" + any.all + ")", "(?:" + any.part + ")"};
}

Pattern optional(const Pattern& pattern) { return {"(?:" + pattern.all + ")?", "(?:" + pattern.part + ")?"}; }

}  // namespace autoglm::text

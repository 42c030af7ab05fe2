// SPDX-License-Identifier: Apache-2.0
// Regular expressions of what begins a call, each with that of its proper beginnings: free text is told apart from a
// call by what it may hold of one. A lexer that takes the longest match and never steps back needs both. Plain values.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace autoglm::text {

struct Pattern {
  std::string all;   // the whole
  std::string part;  // proper beginnings of it, the empty one too; may match the whole where that is open-ended
};

Pattern literal(std::string_view text);
/// Any number of characters of a class, as it stands between brackets.
Pattern any_number(std::string_view character_class);
Pattern up_to(std::string_view character_class, std::size_t count);
Pattern sequence(const std::vector<Pattern>& parts);
Pattern either(const std::vector<Pattern>& options);
Pattern optional(const Pattern& pattern);

/// A character of a regular expression in Lark's slashes.
std::string escaped(char c);

}  // namespace autoglm::text

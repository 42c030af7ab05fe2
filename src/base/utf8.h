// SPDX-License-Identifier: Apache-2.0
// Looks at UTF-8 one character at a time: well-formed, ill-formed, or cut off at the end. Used by the JSON writer and
// by the streaming decoder, which must agree on where U+FFFD goes. Any thread; never allocates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace autoglm::base {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

struct Utf8Step {
  enum class Kind : std::uint8_t {
    kCharacter,   // `size` bytes are one well-formed character
    kIllFormed,   // `size` bytes are a maximal subpart of an ill-formed sequence: one U+FFFD stands for them
    kIncomplete,  // all that is left may be the beginning of a character
  };
  Kind kind = Kind::kCharacter;
  std::size_t size = 0;
};

/// Judges the beginning of `text`, which must not be empty. Overlong forms, surrogates and what lies above U+10FFFF are
/// ill-formed. Source: Unicode 15, table 3-7 and section 3.9 ("U+FFFD substitution of maximal subparts").
Utf8Step utf8_step(std::string_view text);

bool is_utf8(std::string_view text);

}  // namespace autoglm::base

// SPDX-License-Identifier: Apache-2.0
// Numbers in answers. Pure; any thread.
#pragma once

#include <array>
#include <charconv>
#include <string>

namespace autoglm::protocol {

/// Appends the shortest form that reads back as the same float.
inline void append_float(std::string& out, float value) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value);
  out.append(text.data(), end.ptr);
}

}  // namespace autoglm::protocol

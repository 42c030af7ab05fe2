// SPDX-License-Identifier: Apache-2.0
// Words for a POSIX shell, for lines that a user copies. Nothing of ours runs a shell. Any thread.
#pragma once

#include <string>
#include <string_view>

namespace autoglm::base {

/// One word in single quotes: each quote inside closes them, is written, and opens them again (POSIX.1-2017, 2.2.2).
inline std::string shell_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

}  // namespace autoglm::base

// SPDX-License-Identifier: Apache-2.0
// The inside of a JSON string, byte by byte: its escapes taken out, or put in. One sequence's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace autoglm::text {

/// Appends a byte of a text as JSON has it between quotes.
void append_json_byte(std::string& out, char c);
/// Appends a byte of what stands between the quotes of JSON already. A control character, which models write and JSON
/// forbids, becomes an escape.
void append_raw_json_byte(std::string& out, char c);

/// Python's True, False and None as JSON writes them; any other word as it is.
std::string_view json_word(std::string_view python);

class JsonUnescape final {
 public:
  /// Appends to `out` what a byte between the quotes stands for; false when it is no escape.
  bool step(char c, std::string& out);

 private:
  bool step_in_hex(char c, std::string& out);

  bool is_escaped_ = false;
  int hex_left_ = 0;
  std::uint32_t unit_ = 0;
  std::uint32_t high_ = 0;  // the first half of a surrogate pair
};

}  // namespace autoglm::text

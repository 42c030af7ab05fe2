// SPDX-License-Identifier: Apache-2.0
// Follows one JSON object or array byte by byte and says what each byte is: enough to find its end and its keys, with a
// bound on nesting. Numbers and words are not looked into: who needs certainty parses the whole. One sequence's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace autoglm::text {

class JsonScan final {
 public:
  enum class Kind : std::uint8_t {
    kSpace,
    kOpen,   // { or [
    kClose,  // } or ]
    kColon,
    kComma,
    kKey,     // a byte of a key, its quotes too
    kString,  // a byte of a string value, its quotes too
    kScalar,  // a byte of a number, true, false or null
    kWrong,   // not JSON, or nested too deep; the scan is of no more use
  };

  explicit JsonScan(std::size_t max_depth = 64) : max_depth_(max_depth) {}

  Kind step(char c);
  /// Containers that are open after the last byte.
  std::size_t depth() const { return open_.size(); }
  /// Within a string, behind its opening quote.
  bool is_in_string() const { return is_in_string_; }

 private:
  enum class Expect : std::uint8_t { kValue, kValueOrClose, kKey, kKeyOrClose, kColon, kCommaOrClose, kNothing };
  Kind step_in_string(char c);
  Kind begin_value(char c);
  Kind close(char c);
  Kind wrong();

  std::size_t max_depth_;
  std::string open_;  // the brackets that are open
  Expect expect_ = Expect::kValue;
  bool is_in_string_ = false;
  bool is_key_ = false;
  bool is_escaped_ = false;
  bool is_in_scalar_ = false;
};

}  // namespace autoglm::text

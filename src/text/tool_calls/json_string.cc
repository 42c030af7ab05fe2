// SPDX-License-Identifier: Apache-2.0
#include "text/tool_calls/json_string.h"

namespace autoglm::text {
namespace {

void append_utf8(std::string& out, std::uint32_t point) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | ((point >> shift) & 0x3F)); };
  if (point < 0x80) {
    out += static_cast<char>(point);
  } else if (point < 0x800) {
    out += static_cast<char>(0xC0 | point >> 6);
    out += tail(0);
  } else if (point < 0x10000) {
    out += static_cast<char>(0xE0 | point >> 12);
    out += tail(6);
    out += tail(0);
  } else {
    out += static_cast<char>(0xF0 | point >> 18);
    out += tail(12);
    out += tail(6);
    out += tail(0);
  }
}

int hex_value(char c) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const char lower = c >= 'A' && c <= 'F' ? static_cast<char>(c + ('a' - 'A')) : c;
  const std::size_t at = kDigits.find(lower);
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

}  // namespace

void append_raw_json_byte(std::string& out, char c) {
  constexpr std::string_view kControls = "\n\t\r\b\f";
  constexpr std::string_view kLetters = "ntrbf";
  constexpr std::string_view kHex = "0123456789abcdef";
  const auto byte = static_cast<unsigned char>(c);
  if (byte >= 0x20) {
    out += c;
  } else if (const std::size_t at = kControls.find(c); at != std::string_view::npos) {
    out += '\\';
    out += kLetters[at];
  } else {
    out += "\\u00";
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
}

void append_json_byte(std::string& out, char c) {
  if (c == '"' || c == '\\') out += '\\';
  append_raw_json_byte(out, c);
}

std::string_view json_word(std::string_view python) {
  if (python == "True") return "true";
  if (python == "False") return "false";
  return python == "None" ? "null" : python;
}

bool JsonUnescape::step_in_hex(char c, std::string& out) {
  const int digit = hex_value(c);
  if (digit < 0) return false;
  unit_ = unit_ << 4 | static_cast<std::uint32_t>(digit);
  if (--hex_left_ > 0) return true;
  const bool is_high = unit_ >= 0xD800 && unit_ < 0xDC00;
  const bool is_low = unit_ >= 0xDC00 && unit_ < 0xE000;
  if (is_low != (high_ != 0)) return false;
  if (is_high) {
    high_ = unit_;
    return true;
  }
  append_utf8(out, is_low ? 0x10000 + ((high_ - 0xD800) << 10) + (unit_ - 0xDC00) : unit_);
  high_ = 0;
  return true;
}

bool JsonUnescape::step(char c, std::string& out) {
  if (hex_left_ > 0) return step_in_hex(c, out);
  if (is_escaped_) {
    is_escaped_ = false;
    if (c == 'u') {
      hex_left_ = 4;
      unit_ = 0;
      return true;
    }
    if (high_ != 0) return false;
    constexpr std::string_view kEscapes = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const std::size_t at = kEscapes.find(c);
    if (at == std::string_view::npos) return false;
    out += kMeanings[at];
    return true;
  }
  if (c == '\\') {
    is_escaped_ = true;
    return true;
  }
  if (high_ != 0) return false;
  out += c;
  return true;
}

}  // namespace autoglm::text

// SPDX-License-Identifier: Apache-2.0
// Bytes as text: base64 with padding, in the usual alphabet (RFC 4648, section 4). Pure function; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace autoglm::base {

inline void append_base64(std::string& out, std::span<const std::uint8_t> bytes) {
  constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  out.reserve(out.size() + (bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t left = bytes.size() - i;
    std::uint32_t bits = std::uint32_t{bytes[i]} << 16;
    if (left > 1) bits |= std::uint32_t{bytes[i + 1]} << 8;
    if (left > 2) bits |= bytes[i + 2];
    for (std::size_t c = 0; c < 4; ++c) {
      out.push_back(c > left ? '=' : kAlphabet[bits >> (18 - 6 * c) & 63]);
    }
  }
}

inline std::string base64(std::span<const std::uint8_t> bytes) {
  std::string out;
  append_base64(out, bytes);
  return out;
}

}  // namespace autoglm::base

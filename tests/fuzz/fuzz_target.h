// SPDX-License-Identifier: Apache-2.0
// What a fuzz target is: one function that takes any bytes. Its oracles are CHECKs. It runs under libFuzzer, and over
// the committed corpus in every build (replay_main.cc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace autoglm::fuzz {

inline std::string_view as_text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}
inline std::span<const std::byte> as_bytes(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const std::byte*>(data), size};
}

}  // namespace autoglm::fuzz

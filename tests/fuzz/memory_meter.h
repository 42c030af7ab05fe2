// SPDX-License-Identifier: Apache-2.0
// How much memory a piece of code holds at its worst, C++, C and Rust together: counted by the sanitizer's allocation
// hooks, so only in builds with AddressSanitizer; elsewhere the peak is 0. One meter at a time; counts its own thread.
#pragma once

#include <cstddef>

namespace autoglm::fuzz {

class MemoryMeter final {
 public:
  MemoryMeter();
  ~MemoryMeter();
  MemoryMeter(const MemoryMeter&) = delete;
  MemoryMeter& operator=(const MemoryMeter&) = delete;

  /// Most bytes held at once since the meter began.
  std::size_t peak_bytes() const;
};

/// The bound of every reader of files: memory in proportion to the input, whatever the input says of itself.
inline std::size_t memory_allowed(std::size_t input_bytes) { return 4 * input_bytes + (std::size_t{16} << 20); }

}  // namespace autoglm::fuzz

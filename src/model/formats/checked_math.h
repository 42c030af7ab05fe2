// SPDX-License-Identifier: Apache-2.0
// Size arithmetic on numbers that came from a file: nothing wraps. Any thread.
#pragma once

#include <cstdint>
#include <optional>

namespace autoglm::model {

/// Nothing when the result does not fit into 64 bits.
inline std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) {
  std::uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

inline std::optional<std::uint64_t> checked_multiply(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

/// `size` rounded up to a multiple of `alignment`, a power of two.
inline std::optional<std::uint64_t> checked_round_up(std::uint64_t size, std::uint64_t alignment) {
  const std::optional<std::uint64_t> raised = checked_add(size, alignment - 1);
  if (!raised) return std::nullopt;
  return *raised & ~(alignment - 1);
}

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
// What a parser of untrusted bytes may spend. Every such parser takes a Budget and stops with kExhausted when it is
// gone. Steps are counted, never timed, so that a test at the bound is exact. Not thread-safe: one parse, one budget.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace autoglm::base {

class Budget final {
 public:
  struct Limits {
    std::uint64_t bytes = 64ull << 20;  // memory that the parser may allocate or take in
    std::uint64_t steps = 100'000'000;  // units of work, as the parser defines them
    std::uint32_t depth = 64;           // nesting
  };

  Budget() = default;
  explicit Budget(Limits limits) : left_(limits) {}

  /// Takes `n` bytes (steps) from what is left, or fails with kExhausted naming `what`.
  Status take_bytes(std::uint64_t n, const char* what);
  Status take_steps(std::uint64_t n, const char* what);

  /// One level down; pair each success with leave().
  Status enter(const char* what);
  void leave() { ++left_.depth; }

  const Limits& left() const { return left_; }

 private:
  Limits left_;
};

}  // namespace autoglm::base

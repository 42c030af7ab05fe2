// SPDX-License-Identifier: Apache-2.0
// Randomness without state: a value is a pure function of (seed, stream, counter), so a sequence's draw at a position
// is the same whatever ran beside it or before it. Source of the mixer: SplitMix64, Steele et al. 2014 (constants of
// Stafford's variant 13).
#pragma once

#include <cstdint>

namespace autoglm::base {

/// 64 uniform bits for (seed, stream, counter).
constexpr std::uint64_t random_bits(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
  auto mix = [](std::uint64_t x) {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
  };
  return mix(mix(mix(seed) ^ stream) ^ counter);
}

/// Uniform in [0, 1), 53 bits.
constexpr double random_unit(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
  return static_cast<double>(random_bits(seed, stream, counter) >> 11) * 0x1.0p-53;
}

// A seeded sequence of draws for tests, simulations and ids.
class Random final {
 public:
  explicit Random(std::uint64_t seed) : seed_(seed) {}
  std::uint64_t bits() { return random_bits(seed_, 0, counter_++); }
  double unit() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }
  /// Uniform in [0, bound); bound > 0. The bias is below 2^-32 for bounds under 2^32.
  std::uint64_t below(std::uint64_t bound) { return bits() % bound; }

 private:
  std::uint64_t seed_;
  std::uint64_t counter_ = 0;
};

/// 64 bits from the operating system (getrandom), for seeds, ids and keys. Any thread.
std::uint64_t entropy_bits();

}  // namespace autoglm::base

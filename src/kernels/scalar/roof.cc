// SPDX-License-Identifier: Apache-2.0
// The roof loops in portable C++, for the scalar reference.
#include "kernels/roof.h"

namespace autoglm::kernels {
namespace {

constexpr std::size_t kElements = 256;  // both operands stay in the first-level cache
constexpr std::size_t kDot = 32;        // products of a sum, as of a quantised block
constexpr std::size_t kSums = 32;       // f32 sums side by side: none waits for another

double int8_macs(std::size_t rounds) {
  // As wide as the kernels keep unpacked codes.
  alignas(64) std::int16_t left[kElements];
  alignas(64) std::int16_t right[kElements];
  for (std::size_t i = 0; i < kElements; ++i) {
    left[i] = 3;
    right[i] = 5;
  }
  std::int64_t sum = 0;
  for (std::size_t round = 0; round < rounds; ++round) {
    asm volatile("" : : "r"(left), "r"(right) : "memory");  // the operands may have changed: no round is left out
#pragma clang loop vectorize(disable) unroll(disable)
    for (std::size_t first = 0; first < kElements; first += kDot) {
      std::int32_t dot = 0;
      for (std::size_t i = first; i < first + kDot; ++i) dot += left[i] * right[i];
      sum += dot;
    }
  }
  return static_cast<double>(sum);
}

double f32_macs(std::size_t rounds) {
  alignas(64) float left[kSums];
  alignas(64) float right[kSums];
  float sums[kSums] = {};
  for (std::size_t i = 0; i < kSums; ++i) {
    left[i] = 3;
    right[i] = 5;
  }
  for (std::size_t round = 0; round < rounds; ++round) {
    asm volatile("" : : "r"(left), "r"(right) : "memory");
    for (std::size_t i = 0; i < kSums; ++i) sums[i] += left[i] * right[i];
  }
  double sum = 0;
  for (const float lane : sums) sum += static_cast<double>(lane);
  return sum;
}

std::uint64_t read(const std::byte* from, std::size_t bytes) {
  const auto* words = reinterpret_cast<const std::uint64_t*>(from);
  const std::size_t quarter = bytes / sizeof(std::uint64_t) / 4;
  std::uint64_t sums[4] = {};
  for (std::size_t i = 0; i < quarter; ++i) {
    for (std::size_t stream = 0; stream < 4; ++stream) sums[stream] += words[stream * quarter + i];
  }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

}  // namespace

const RoofTable& scalar_roof() {
  static constexpr RoofTable kTable{.int8 = {.macs_per_round = kElements, .run = int8_macs},
                                    .bf16 = {},
                                    .f32 = {.macs_per_round = kSums, .run = f32_macs},
                                    .read = read};
  return kTable;
}

}  // namespace autoglm::kernels

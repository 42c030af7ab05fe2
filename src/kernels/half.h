// SPDX-License-Identifier: Apache-2.0
// 16-bit floats in portable C++: IEEE half (f16) and bfloat16 (bf16), both ways, rounded to nearest even as the
// processor's own conversions do. Any thread. Not for the units under avx2/ and avx512/, which have instructions.
#pragma once

#include <bit>
#include <cstdint>

namespace autoglm::kernels {

inline constexpr float kLargestF16 = 65504;

inline float f32_from_bf16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

/// NaN stays a (quiet) NaN.
inline std::uint16_t bf16_from_f32(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// The numbers of f16 `bits` for a float and its bits, or for vectors of both; without branches, so that loops over it
// become vector instructions.
template <typename Float, typename Bits>
inline __attribute__((always_inline)) Float widened_f16(Bits bits) {
  const Bits magnitude = (bits & 0x7fffu) << 13;
  // The exponent's bias goes from 15 to 127. Exact, for subnormal halves too.
  const Float value = std::bit_cast<Float>(magnitude) * 0x1.0p112f;
  const Bits not_finite = magnitude >= (31u << 23) + Bits{} ? (255u << 23) + Bits{} : Bits{};  // infinity, NaN
  return std::bit_cast<Float>(std::bit_cast<Bits>(value) | not_finite | (bits & 0x8000u) << 16);
}

inline float f32_from_f16(std::uint16_t bits) { return widened_f16<float>(std::uint32_t{bits}); }

inline std::uint16_t f16_from_f32(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x47800000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // 65536 and above
  if (magnitude < 0x38800000u) {  // below 2^-14: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u));
  }
  // Rebias; a carry out of the mantissa rightly steps the exponent, up to infinity for 65520 and above.
  return static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13));
}

}  // namespace autoglm::kernels

// SPDX-License-Identifier: Apache-2.0
// Unpacks panels (kernels/panel_layout.h) in AVX2 registers. A panel of 16 rows is read as two halves of 8: a quad is
// 8 rows x 4 k of codes, scales are 8 rows of f32. Everything here has internal linkage: it is compiled for more than
// the floor.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/panel_layout.h"

namespace autoglm::kernels {
namespace {

#define AUTOGLM_INLINE static inline __attribute__((always_inline))

constexpr int kHalfRows = 8;

/// Codes that use all 8 bits: the dot instruction would saturate, so they are taken as signed values (zero point
/// removed) and multiplied as |w| by x with the sign of w.
template <DType kType>
constexpr bool kSigned = block_shape(kType).bits == 8 || block_shape(kType).has_table;

AUTOGLM_INLINE __m256i half_line(const std::byte* codes, int index) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + 64 * index));
}

// (x shifted right by kShift, or left when negative) & mask, or-ed onto `onto`.
template <int kShift>
AUTOGLM_INLINE __m256i merge_bits(__m256i onto, __m256i x, __m256i mask) {
  if constexpr (kShift > 0) x = _mm256_srli_epi16(x, kShift);
  if constexpr (kShift < 0) x = _mm256_slli_epi16(x, -kShift);
  return _mm256_or_si256(onto, _mm256_and_si256(x, mask));
}

// Codes of quad kQuad of 32 k; unsigned, or for kSigned types the signed value of code - zero. `codes` is the half's
// place in the first line.
template <DType kType, int kQuad>
AUTOGLM_INLINE __m256i quad_at(const std::byte* codes) {
  constexpr BlockShape kShape = block_shape(kType);
  if constexpr (kShape.bits == 8) {
    return _mm256_xor_si256(half_line(codes, kQuad), _mm256_set1_epi8(-128));
  } else {
    __m256i code = _mm256_setzero_si256();
    constexpr int kNibbleLines = kShape.bits >= 4 ? 4 : 0;
    if constexpr (kShape.bits >= 4) {
      code = half_line(codes, kQuad / 2);
      if constexpr (kQuad % 2 != 0) code = _mm256_srli_epi16(code, 4);
      code = _mm256_and_si256(code, _mm256_set1_epi8(15));
    }
    if constexpr (kShape.bits == 6) {
      const __m256i two = half_line(codes, kNibbleLines + kQuad / 4);
      code = merge_bits<2 * (kQuad % 4) - 4>(code, two, _mm256_set1_epi8(0x30));
    }
    if constexpr (kShape.bits <= 3) {
      code = merge_bits<2 * (kQuad % 4)>(code, half_line(codes, kQuad / 4), _mm256_set1_epi8(3));
    }
    if constexpr (kShape.bits == 3) code = merge_bits<kQuad - 2>(code, half_line(codes, 2), _mm256_set1_epi8(4));
    if constexpr (kShape.bits == 5) code = merge_bits<kQuad - 4>(code, half_line(codes, 4), _mm256_set1_epi8(16));
    if constexpr (kShape.has_table) {
      const __m128i table = _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
      code = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), code);
    }
    return code;
  }
}

AUTOGLM_INLINE __m256 halves_at(const std::byte* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

AUTOGLM_INLINE __m256 bytes_at(const std::byte* from) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}

// d and dmin of a block of 8 rows.
struct Factors {
  __m256 d;
  __m256 dmin;
};

// `half` is 0 or 1 in what follows; `scales` is of the whole panel.
template <DType kType>
AUTOGLM_INLINE Factors factors_at(const std::byte* scales, std::size_t half) {
  Factors factors;
  factors.d = halves_at(scales + 2 * kHalfRows * half);
  factors.dmin = factors.d;
  if constexpr (block_shape(kType).has_min) factors.dmin = halves_at(scales + 2 * (kPanelRows + kHalfRows * half));
  return factors;
}

// Scale of group `group` of the block: value = scale * (code - zero) - min.
template <DType kType>
AUTOGLM_INLINE __m256 scale_at(const Factors& factors, const std::byte* scales, std::size_t half, std::size_t group) {
  constexpr BlockShape kShape = block_shape(kType);
  if constexpr (!kShape.has_scales) return factors.d;
  constexpr std::size_t kFirst = (kShape.has_min ? 4 : 2) * kPanelRows;
  return _mm256_mul_ps(factors.d, bytes_at(scales + kFirst + group * kPanelRows + kHalfRows * half));
}

// Minus the minimum of group `group`: what is added.
template <DType kType>
AUTOGLM_INLINE __m256 offset_at(const Factors& factors, const std::byte* scales, std::size_t half, std::size_t group) {
  constexpr BlockShape kShape = block_shape(kType);
  if constexpr (!kShape.has_scales) return factors.dmin;
  constexpr std::size_t kGroups = static_cast<std::size_t>(kShape.elements / kShape.group);
  const std::byte* const min = scales + (4 + kGroups + group) * kPanelRows + kHalfRows * half;
  return _mm256_sub_ps(_mm256_setzero_ps(), _mm256_mul_ps(factors.dmin, bytes_at(min)));
}

}  // namespace
}  // namespace autoglm::kernels

// SPDX-License-Identifier: Apache-2.0
// Unpacks panels (kernels/panel_layout.h) in AVX-512 registers: a quad is 16 rows x 4 k of unsigned codes, and scales
// are 16 rows of f32. Everything here has internal linkage: it is compiled for more than the floor.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/panel_layout.h"

namespace autoglm::kernels {
namespace {

#define AUTOGLM_INLINE static inline __attribute__((always_inline))

AUTOGLM_INLINE __m512i line_at(const std::byte* codes, int index) { return _mm512_loadu_si512(codes + 64 * index); }

// (x shifted right by kShift, or left when negative) & mask, or-ed onto `onto`.
template <int kShift>
AUTOGLM_INLINE __m512i merge_bits(__m512i onto, __m512i x, __m512i mask) {
  if constexpr (kShift > 0) x = _mm512_srli_epi16(x, kShift);
  if constexpr (kShift < 0) x = _mm512_slli_epi16(x, -kShift);
  return _mm512_ternarylogic_epi32(onto, x, mask, 0xf8);  // onto | (x & mask)
}

// Codes of quad kQuad of 32 k, out of `codes` lines. Lines that several quads share are loaded once: every index is a
// constant after unrolling.
template <DType kType, int kQuad>
AUTOGLM_INLINE __m512i quad_at(const std::byte* codes) {
  constexpr BlockShape kShape = block_shape(kType);
  if constexpr (kShape.bits == 8) {
    return line_at(codes, kQuad);
  } else {
    __m512i code = _mm512_setzero_si512();
    constexpr int kNibbleLines = kShape.bits >= 4 ? 4 : 0;
    if constexpr (kShape.bits >= 4) {
      code = line_at(codes, kQuad / 2);
      if constexpr (kQuad % 2 != 0) code = _mm512_srli_epi16(code, 4);
      code = _mm512_and_si512(code, _mm512_set1_epi8(15));
    }
    if constexpr (kShape.bits == 6) {
      const __m512i two = line_at(codes, kNibbleLines + kQuad / 4);
      code = merge_bits<2 * (kQuad % 4) - 4>(code, two, _mm512_set1_epi8(0x30));
    }
    if constexpr (kShape.bits <= 3) {
      const __m512i two = line_at(codes, kQuad / 4);
      code = merge_bits<2 * (kQuad % 4)>(code, two, _mm512_set1_epi8(3));
    }
    if constexpr (kShape.bits == 3) code = merge_bits<kQuad - 2>(code, line_at(codes, 2), _mm512_set1_epi8(4));
    if constexpr (kShape.bits == 5) code = merge_bits<kQuad - 4>(code, line_at(codes, 4), _mm512_set1_epi8(16));
    if constexpr (kShape.has_table) {
      const __m128i table = _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, -127, -115, -103, -90, -75, -59, -39, -15);
      code = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), code);
    }
    return code;
  }
}

AUTOGLM_INLINE __m512 halves_at(const std::byte* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

AUTOGLM_INLINE __m512 bytes_at(const std::byte* from) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}

// d and dmin of a block of 16 rows.
struct Factors {
  __m512 d;
  __m512 dmin;
};

template <DType kType>
AUTOGLM_INLINE Factors factors_at(const std::byte* scales) {
  Factors factors;
  factors.d = halves_at(scales);
  factors.dmin = factors.d;
  if constexpr (block_shape(kType).has_min) factors.dmin = halves_at(scales + 2 * kPanelRows);
  return factors;
}

// Scale of group `group` of the block: value = scale * (code - zero) - min.
template <DType kType>
AUTOGLM_INLINE __m512 scale_at(const Factors& factors, const std::byte* scales, std::size_t group) {
  constexpr BlockShape kShape = block_shape(kType);
  if constexpr (!kShape.has_scales) return factors.d;
  constexpr std::size_t kFirst = (kShape.has_min ? 4 : 2) * kPanelRows;
  return _mm512_mul_ps(factors.d, bytes_at(scales + kFirst + group * kPanelRows));
}

// Minus the minimum of group `group`: what is added.
template <DType kType>
AUTOGLM_INLINE __m512 offset_at(const Factors& factors, const std::byte* scales, std::size_t group) {
  constexpr BlockShape kShape = block_shape(kType);
  if constexpr (!kShape.has_scales) return factors.dmin;
  constexpr std::size_t kGroups = static_cast<std::size_t>(kShape.elements / kShape.group);
  const __m512 product = _mm512_mul_ps(factors.dmin, bytes_at(scales + (4 + kGroups + group) * kPanelRows));
  return _mm512_sub_ps(_mm512_setzero_ps(), product);
}

}  // namespace
}  // namespace autoglm::kernels

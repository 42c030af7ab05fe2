// SPDX-License-Identifier: Apache-2.0
// The vector type of the AVX-512 kernels: 16 floats. Same verbs as scalar/vector.h. Only units of avx512/ include it.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/row_table.h"
#include "kernels/vector_math.h"

namespace autoglm::kernels {
namespace {

struct Avx512 {
  static constexpr int kLanes = 16;
  static constexpr int kQueries = 12;  // 12 x 2 sums, 2 matrix vectors and broadcasts fill 28 of 32 registers
  using F = __m512;

  static AUTOGLM_KERNEL_INLINE __mmask16 first_lanes(int count) { return static_cast<__mmask16>((1u << count) - 1u); }

  static AUTOGLM_KERNEL_INLINE F set(float value) { return _mm512_set1_ps(value); }
  static AUTOGLM_KERNEL_INLINE F zero() { return _mm512_setzero_ps(); }
  static AUTOGLM_KERNEL_INLINE F load(const float* from) { return _mm512_loadu_ps(from); }
  static AUTOGLM_KERNEL_INLINE F load_part(const float* from, int count) {
    return _mm512_maskz_loadu_ps(first_lanes(count), from);
  }
  static AUTOGLM_KERNEL_INLINE F load(const std::uint16_t* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static AUTOGLM_KERNEL_INLINE F load_part(const std::uint16_t* from, int count) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(count), from));
  }
  static AUTOGLM_KERNEL_INLINE void store(float* to, F a) { _mm512_storeu_ps(to, a); }
  static AUTOGLM_KERNEL_INLINE void store_part(float* to, F a, int count) {
    _mm512_mask_storeu_ps(to, first_lanes(count), a);
  }
  static AUTOGLM_KERNEL_INLINE void store_f16_part(std::uint16_t* to, F a, int count) {
    const __m256i half = _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_mask_storeu_epi16(to, first_lanes(count), half);
  }
  // In integers, as vcvtneps2bf16 is not on every processor with AVX-512 and flushes subnormals.
  static AUTOGLM_KERNEL_INLINE void store_bf16_part(std::uint16_t* to, F a, int count) {
    const __m512i bits = _mm512_castps_si512(a);
    const __m512i upper = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    const __m512i quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
    const __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    const __m512i rounded = _mm512_mask_mov_epi32(_mm512_srli_epi32(sum, 16), nan, quiet);
    _mm256_mask_storeu_epi16(to, first_lanes(count), _mm512_cvtepi32_epi16(rounded));
  }

  static AUTOGLM_KERNEL_INLINE F add(F a, F b) { return _mm512_add_ps(a, b); }
  static AUTOGLM_KERNEL_INLINE F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static AUTOGLM_KERNEL_INLINE F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static AUTOGLM_KERNEL_INLINE F div(F a, F b) { return _mm512_div_ps(a, b); }
  static AUTOGLM_KERNEL_INLINE F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static AUTOGLM_KERNEL_INLINE F max(F a, F b) { return _mm512_max_ps(a, b); }
  static AUTOGLM_KERNEL_INLINE F min(F a, F b) { return _mm512_min_ps(a, b); }
  static AUTOGLM_KERNEL_INLINE F abs(F a) { return _mm512_abs_ps(a); }
  static AUTOGLM_KERNEL_INLINE F round(F a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static AUTOGLM_KERNEL_INLINE F times_pow2(F a, F n) { return _mm512_scalef_ps(a, n); }
  static AUTOGLM_KERNEL_INLINE F select_less(F a, F b, F yes, F no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
  }
  static AUTOGLM_KERNEL_INLINE F keep(F a, std::uint32_t bits, F other) {
    return _mm512_mask_blend_ps(static_cast<__mmask16>(bits), other, a);
  }
  // Halves, quarters, pairs: the order of these additions is part of the result.
  static AUTOGLM_KERNEL_INLINE float sum(F a) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static AUTOGLM_KERNEL_INLINE float largest(F a) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }

  static AUTOGLM_KERNEL_INLINE bool any_above(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ) != 0; }

  template <int kDistance>
  static AUTOGLM_KERNEL_INLINE F swap(F a) {
    if constexpr (kDistance == 1) return _mm512_permute_ps(a, 0xb1);
    if constexpr (kDistance == 2) return _mm512_permute_ps(a, 0x4e);
    if constexpr (kDistance == 4) return _mm512_shuffle_f32x4(a, a, 0xb1);
    if constexpr (kDistance == 8) return _mm512_shuffle_f32x4(a, a, 0x4e);
  }

  using P = __m512i;
  using I = __m512i;
  static AUTOGLM_KERNEL_INLINE I no_sums() { return _mm512_setzero_si512(); }
  static AUTOGLM_KERNEL_INLINE P load_pairs(const Int8Pair* from) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static AUTOGLM_KERNEL_INLINE P load_pairs_part(const Int8Pair* from, int count) {
    return _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi16(first_lanes(count), from));
  }
  static AUTOGLM_KERNEL_INLINE P set_pair(const Int16Pair* from) {
    return _mm512_set1_epi32(__builtin_bit_cast(int, *from));
  }
  static AUTOGLM_KERNEL_INLINE I add_products(P a, P b, I sums) {
    return _mm512_add_epi32(sums, _mm512_madd_epi16(a, b));
  }
  static AUTOGLM_KERNEL_INLINE F to_float(I sums) { return _mm512_cvtepi32_ps(sums); }
  static AUTOGLM_KERNEL_INLINE void store_codes_part(std::int16_t* to, F a, int count) {
    _mm256_mask_storeu_epi16(to, first_lanes(count), _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(a)));
  }

  static AUTOGLM_KERNEL_INLINE F swap_pairs(F a) { return _mm512_permute_ps(a, 0xb1); }
  static AUTOGLM_KERNEL_INLINE F load_twice(const float* from, int count) {
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return _mm512_permutexvar_ps(twice, load_part(from, count));
  }
  static AUTOGLM_KERNEL_INLINE F fma_sub_add(F a, F b, F c) { return _mm512_fmaddsub_ps(a, b, c); }
};

}  // namespace
}  // namespace autoglm::kernels

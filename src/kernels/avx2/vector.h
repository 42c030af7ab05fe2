// SPDX-License-Identifier: Apache-2.0
// The vector type of the AVX2 kernels: 8 floats, with FMA and F16C. Same verbs as scalar/vector.h. Only units of avx2/
// include it.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/row_table.h"
#include "kernels/vector_math.h"

namespace autoglm::kernels {
namespace {

struct Avx2 {
  static constexpr int kLanes = 8;
  static constexpr int kQueries = 6;  // 6 x 2 sums, 2 matrix vectors and a broadcast fill 15 of 16 registers
  using F = __m256;

  static AUTOGLM_KERNEL_INLINE __m256i first_lanes(int count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }

  static AUTOGLM_KERNEL_INLINE F set(float value) { return _mm256_set1_ps(value); }
  static AUTOGLM_KERNEL_INLINE F zero() { return _mm256_setzero_ps(); }
  static AUTOGLM_KERNEL_INLINE F load(const float* from) { return _mm256_loadu_ps(from); }
  static AUTOGLM_KERNEL_INLINE F load_part(const float* from, int count) {
    return _mm256_maskload_ps(from, first_lanes(count));
  }
  static AUTOGLM_KERNEL_INLINE F load(const std::uint16_t* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  // Only odd head sizes come here: element by element, as AVX2 has no masked loads of 16 bits.
  static AUTOGLM_KERNEL_INLINE F load_part(const std::uint16_t* from, int count) {
    alignas(16) std::uint16_t whole[kLanes] = {};
    for (int i = 0; i < count; ++i) whole[i] = from[i];
    return load(whole);
  }
  static AUTOGLM_KERNEL_INLINE void store(float* to, F a) { _mm256_storeu_ps(to, a); }
  static AUTOGLM_KERNEL_INLINE void store_part(float* to, F a, int count) {
    _mm256_maskstore_ps(to, first_lanes(count), a);
  }
  static AUTOGLM_KERNEL_INLINE void store_16_part(std::uint16_t* to, __m128i a, int count) {
    if (count == kLanes) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), a);
      return;
    }
    alignas(16) std::uint16_t whole[kLanes];
    _mm_store_si128(reinterpret_cast<__m128i*>(whole), a);
    for (int i = 0; i < count; ++i) to[i] = whole[i];
  }
  static AUTOGLM_KERNEL_INLINE void store_f16_part(std::uint16_t* to, F a, int count) {
    store_16_part(to, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), count);
  }
  static AUTOGLM_KERNEL_INLINE void store_bf16_part(std::uint16_t* to, F a, int count) {
    const __m256i bits = _mm256_castps_si256(a);
    const __m256i upper = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    const __m256i rounded = _mm256_blendv_epi8(_mm256_srli_epi32(sum, 16), quiet, nan);
    store_16_part(to, _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1)), count);
  }

  static AUTOGLM_KERNEL_INLINE F add(F a, F b) { return _mm256_add_ps(a, b); }
  static AUTOGLM_KERNEL_INLINE F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static AUTOGLM_KERNEL_INLINE F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static AUTOGLM_KERNEL_INLINE F div(F a, F b) { return _mm256_div_ps(a, b); }
  static AUTOGLM_KERNEL_INLINE F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static AUTOGLM_KERNEL_INLINE F max(F a, F b) { return _mm256_max_ps(a, b); }
  static AUTOGLM_KERNEL_INLINE F min(F a, F b) { return _mm256_min_ps(a, b); }
  static AUTOGLM_KERNEL_INLINE F abs(F a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
  static AUTOGLM_KERNEL_INLINE F round(F a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static AUTOGLM_KERNEL_INLINE F times_pow2(F a, F n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
  }
  static AUTOGLM_KERNEL_INLINE F select_less(F a, F b, F yes, F no) {
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
  }
  static AUTOGLM_KERNEL_INLINE F keep(F a, std::uint32_t bits, F other) {
    const __m256i lane_bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i set_bits = _mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), lane_bit);
    return _mm256_blendv_ps(other, a, _mm256_castsi256_ps(_mm256_cmpeq_epi32(set_bits, lane_bit)));
  }
  // Halves, quarters, pairs: the order of these additions is part of the result.
  static AUTOGLM_KERNEL_INLINE float sum(F a) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  static AUTOGLM_KERNEL_INLINE float largest(F a) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }

  static AUTOGLM_KERNEL_INLINE bool any_above(F a, F b) {
    return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)) != 0;
  }

  template <int kDistance>
  static AUTOGLM_KERNEL_INLINE F swap(F a) {
    if constexpr (kDistance == 1) return _mm256_permute_ps(a, 0xb1);
    if constexpr (kDistance == 2) return _mm256_permute_ps(a, 0x4e);
    if constexpr (kDistance == 4) return _mm256_permute2f128_ps(a, a, 1);
  }

  using P = __m256i;
  using I = __m256i;
  static AUTOGLM_KERNEL_INLINE I no_sums() { return _mm256_setzero_si256(); }
  static AUTOGLM_KERNEL_INLINE P load_pairs(const Int8Pair* from) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static AUTOGLM_KERNEL_INLINE P load_pairs_part(const Int8Pair* from, int count) {
    alignas(16) Int8Pair whole[kLanes] = {};
    for (int i = 0; i < count; ++i) whole[i] = from[i];
    return load_pairs(whole);
  }
  static AUTOGLM_KERNEL_INLINE P set_pair(const Int16Pair* from) {
    return _mm256_set1_epi32(__builtin_bit_cast(int, *from));
  }
  static AUTOGLM_KERNEL_INLINE I add_products(P a, P b, I sums) {
    return _mm256_add_epi32(sums, _mm256_madd_epi16(a, b));
  }
  static AUTOGLM_KERNEL_INLINE F to_float(I sums) { return _mm256_cvtepi32_ps(sums); }
  static AUTOGLM_KERNEL_INLINE void store_codes_part(std::int16_t* to, F a, int count) {
    const __m256i codes = _mm256_cvtps_epi32(a);
    const __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
    store_16_part(reinterpret_cast<std::uint16_t*>(to), packed, count);
  }

  static AUTOGLM_KERNEL_INLINE F swap_pairs(F a) { return _mm256_permute_ps(a, 0xb1); }
  static AUTOGLM_KERNEL_INLINE F load_twice(const float* from, int count) {
    return _mm256_permutevar8x32_ps(load_part(from, count), _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
  }
  static AUTOGLM_KERNEL_INLINE F fma_sub_add(F a, F b, F c) { return _mm256_fmaddsub_ps(a, b, c); }
};

}  // namespace
}  // namespace autoglm::kernels

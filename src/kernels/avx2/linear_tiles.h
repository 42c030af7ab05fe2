// SPDX-License-Identifier: Apache-2.0
// The loops of linear layers in AVX2: a tile is kHalves halves of a panel (8 output rows each) by kWidth columns of
// activations, accumulated in registers. The operations on one output element are the same, in the same order, in every
// tile. Everything here has internal linkage: it is compiled for more than the floor.
#pragma once

#include "kernels/avx2/panel_codes.h"
#include "kernels/linear_kernels.h"

namespace autoglm::kernels {
namespace {

// Weights are asked for this far ahead, into the second-level cache: it takes more requests at a time than the first.
constexpr std::size_t kPrefetchBytes = std::size_t{16} << 10;

// Unrolls at compile time: step.template operator()<0>(), <1>(), ...
template <int kFirst, int kEnd, typename Step>
AUTOGLM_INLINE void unroll(const Step& step) {
  if constexpr (kFirst < kEnd) {
    step.template operator()<kFirst>();
    unroll<kFirst + 1, kEnd>(step);
  }
}

template <int kHalves, int kWidth>
struct Sums {
  __m256 value[kHalves][kWidth];
};

template <int kHalves, int kWidth>
AUTOGLM_INLINE void clear(Sums<kHalves, kWidth>& sums) {
  for (int h = 0; h < kHalves; ++h) {
    for (int n = 0; n < kWidth; ++n) sums.value[h][n] = _mm256_setzero_ps();
  }
}

// The first min(left, 8) lanes.
AUTOGLM_INLINE __m256i first_lanes(std::size_t left) {
  const int count = left >= kHalfRows ? kHalfRows : static_cast<int>(left);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// Unrolled, so that no sum is ever indexed by a variable and all of them live in registers.
template <int kHalves, int kWidth>
AUTOGLM_INLINE void store(const LinearCall& call, std::size_t panel, std::size_t first_half,
                          const Sums<kHalves, kWidth>& sums) {
  unroll<0, kHalves>([&]<int kHalf>() __attribute__((always_inline)) {
    const std::size_t first = panel * kPanelRows + (first_half + kHalf) * kHalfRows;
    if (first >= call.out_features) return;
    const __m256i lanes = first_lanes(call.out_features - first);
    const __m256 bias = call.bias != nullptr ? _mm256_maskload_ps(call.bias + first, lanes) : _mm256_setzero_ps();
    unroll<0, kWidth>([&]<int kColumn>() __attribute__((always_inline)) {
      if (kColumn >= call.x.columns) return;
      float* out = call.out + kColumn * call.out_stride + first;
      __m256 value = sums.value[kHalf][kColumn];
      if (call.bias != nullptr) value = _mm256_add_ps(value, bias);
      if (call.accumulate) value = _mm256_add_ps(_mm256_maskload_ps(out, lanes), value);
      _mm256_maskstore_ps(out, lanes, value);
    });
  });
}

consteval int log2_of(int power) { return power <= 1 ? 0 : 1 + log2_of(power / 2); }

// Quads whose pairwise products sum up in 16 bits without saturating: 32767 / (2 * 127 * largest code).
consteval int quads_in_16_bits(int bits) {
  if (bits <= 4) return 8;
  return bits == 5 ? 4 : 2;
}

// Pairwise products of a quad with 4 activations, in 16 bits.
template <DType kType>
AUTOGLM_INLINE __m256i products(__m256i code, __m256i magnitude, __m256i x) {
  if constexpr (kSigned<kType>) return _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(x, code));
  return _mm256_maddubs_epi16(code, x);
}

// The integer dots of the quads [kFirst, kEnd) of 8 rows with every column.
template <DType kType, int kFirst, int kEnd, int kWidth>
AUTOGLM_INLINE void add_dots(const std::byte* codes, const std::int32_t* words, __m256i (&dot)[kWidth]) {
  constexpr int kTogether = kSigned<kType> ? 1 : quads_in_16_bits(block_shape(kType).bits);
  constexpr int kMiddle = kFirst + kTogether < kEnd ? kFirst + kTogether : kEnd;
  __m256i pairs[kWidth];
  unroll<kFirst, kMiddle>([&]<int kQuad>() __attribute__((always_inline)) {
    const __m256i code = quad_at<kType, kQuad>(codes);
    const __m256i magnitude = kSigned<kType> ? _mm256_abs_epi8(code) : code;
    for (int n = 0; n < kWidth; ++n) {
      const __m256i product = products<kType>(code, magnitude, _mm256_set1_epi32(words[kQuad * kWidth + n]));
      pairs[n] = kQuad == kFirst ? product : _mm256_add_epi16(pairs[n], product);
    }
  });
  for (int n = 0; n < kWidth; ++n) {
    dot[n] = _mm256_add_epi32(dot[n], _mm256_madd_epi16(pairs[n], _mm256_set1_epi16(1)));
  }
  if constexpr (kMiddle < kEnd) add_dots<kType, kMiddle, kEnd, kWidth>(codes, words, dot);
}

// 32 k of one half with int8 activations.
template <DType kType, int kWidth>
AUTOGLM_INLINE void add_part(const LinearCall& call, std::size_t block, std::size_t part, const Factors& factors,
                             const std::byte* scales, const std::byte* codes, std::size_t half,
                             __m256 (&sums)[kWidth]) {
  constexpr BlockShape kShape = block_shape(kType);
  constexpr int kGroups = 32 / kShape.group;
  constexpr int kQuads = kShape.group / 4;
  const auto* words = static_cast<const std::int32_t*>(call.x.words) + block * 8 * kWidth;
  const float* scale_x = call.x.scale + block * kWidth;
  const float* sum_x = call.x.sum + block * kWidth;
  const std::int32_t* minus_sum = kGroups == 2 ? call.x.sum16 + 2 * block * kWidth : call.x.sum32 + block * kWidth;
  unroll<0, kGroups>([&]<int kGroup>() __attribute__((always_inline)) {
    __m256i dot[kWidth];
    for (int n = 0; n < kWidth; ++n) {
      dot[n] = kShape.zero == 0 || kSigned<kType>
                   ? _mm256_setzero_si256()
                   : _mm256_slli_epi32(_mm256_set1_epi32(minus_sum[kGroup * kWidth + n]), log2_of(kShape.zero));
    }
    add_dots<kType, kGroup * kQuads, (kGroup + 1) * kQuads, kWidth>(codes, words, dot);
    const std::size_t group = part * kGroups + kGroup;
    const __m256 scale = scale_at<kType>(factors, scales, half, group);
    for (int n = 0; n < kWidth; ++n) {
      const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(dot[n]), scale);
      sums[n] = _mm256_fmadd_ps(scaled, _mm256_set1_ps(scale_x[n]), sums[n]);
    }
    if constexpr (kShape.has_min) {
      const __m256 offset = offset_at<kType>(factors, scales, half, group);
      for (int n = 0; n < kWidth; ++n) {
        if constexpr (kGroups == 1) {
          sums[n] = _mm256_fmadd_ps(offset, _mm256_set1_ps(sum_x[n]), sums[n]);
        } else {
          const __m256 sum = _mm256_cvtepi32_ps(_mm256_set1_epi32(-minus_sum[kGroup * kWidth + n]));
          sums[n] = _mm256_fmadd_ps(_mm256_mul_ps(offset, sum), _mm256_set1_ps(scale_x[n]), sums[n]);
        }
      }
    }
  });
}

// 32 k of all halves with f32 activations. A sum waits four cycles for its last product: all of them take turns.
template <DType kType, int kHalves, int kWidth>
AUTOGLM_INLINE void add_part_exact(const LinearCall& call, std::size_t block, std::size_t part,
                                   const Factors (&factors)[kHalves], const std::byte* scales, const std::byte* codes,
                                   std::size_t first_half, Sums<kHalves, kWidth>& sums) {
  constexpr BlockShape kShape = block_shape(kType);
  constexpr int kGroups = 32 / kShape.group;
  constexpr int kZero = kSigned<kType> ? 0 : kShape.zero;
  const float* x = static_cast<const float*>(call.x.words) + block * 32 * kWidth;
  unroll<0, 8>([&]<int kQuad>() __attribute__((always_inline)) {
    const std::size_t group = part * kGroups + kQuad * 4 / kShape.group;
    __m256 scale[kHalves];
    __m256 offset[kHalves];
    __m256i codes4[kHalves];
    for (std::size_t h = 0; h < kHalves; ++h) {
      scale[h] = scale_at<kType>(factors[h], scales, first_half + h, group);
      // scale * zero is exact (zero is a power of two), so one fused rounding gives scale * (code - zero).
      offset[h] = kShape.has_min ? offset_at<kType>(factors[h], scales, first_half + h, group)
                                 : _mm256_mul_ps(scale[h], _mm256_set1_ps(static_cast<float>(-kZero)));
      codes4[h] = quad_at<kType, kQuad>(codes + 4 * kHalfRows * h);
    }
    unroll<0, 4>([&]<int kByte>() __attribute__((always_inline)) {
      __m256 weight[kHalves];
      for (std::size_t h = 0; h < kHalves; ++h) {
        // To the top of the lane and down again: with the sign for signed codes, without for unsigned.
        const __m256i top = _mm256_slli_epi32(codes4[h], 24 - 8 * kByte);
        const __m256i code = kSigned<kType> ? _mm256_srai_epi32(top, 24) : _mm256_srli_epi32(top, 24);
        weight[h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(code), scale[h], offset[h]);
      }
      for (int n = 0; n < kWidth; ++n) {
        const __m256 xn = _mm256_set1_ps(x[(4 * kQuad + kByte) * kWidth + n]);
        for (int h = 0; h < kHalves; ++h) sums.value[h][n] = _mm256_fmadd_ps(weight[h], xn, sums.value[h][n]);
      }
    });
  });
}

template <DType kType, int kHalves, int kWidth, bool kExact>
static void quantized_tile(const LinearCall& call, std::size_t panel, std::size_t first_half) {
  constexpr std::size_t kParts = static_cast<std::size_t>(block_shape(kType).elements / 32);
  const std::byte* scales = call.panels + panel * call.panel_bytes;
  const std::byte* codes = scales + call.scale_area + 4 * kHalfRows * first_half;
  const std::size_t blocks = call.in_features / 32;
  Sums<kHalves, kWidth> sums;
  clear(sums);
  for (std::size_t first = 0; first < blocks; first += kParts) {
    Factors factors[kHalves];
    for (std::size_t h = 0; h < kHalves; ++h) factors[h] = factors_at<kType>(scales, first_half + h);
#pragma clang loop unroll(disable)
    for (std::size_t part = 0; part < kParts; ++part) {
      for (int line = 0; line < block_shape(kType).bits; ++line) {
        _mm_prefetch(codes + 64 * line + kPrefetchBytes, _MM_HINT_T1);
      }
      if constexpr (kExact) {
        add_part_exact<kType, kHalves, kWidth>(call, first + part, part, factors, scales, codes, first_half, sums);
      } else {
        for (std::size_t h = 0; h < kHalves; ++h) {
          add_part<kType, kWidth>(call, first + part, part, factors[h], scales, codes + 4 * kHalfRows * h,
                                  first_half + h, sums.value[h]);
        }
      }
      codes += panel_code_bytes(kType);
    }
    scales += panel_scale_bytes(kType);
  }
  store(call, panel, first_half, sums);
}

// One k of 8 rows.
template <DType kType>
AUTOGLM_INLINE __m256 dense_at(const std::byte* panel, std::size_t half, std::size_t k) {
  if constexpr (kType == DType::kF32) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(panel + k * 64 + 32 * half));
  }
  if constexpr (kType == DType::kF16) return halves_at(panel + k * 32 + 16 * half);
  const __m256i pair = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(panel + k / 2 * 64 + 32 * half));
  return _mm256_castsi256_ps(k % 2 == 0 ? _mm256_slli_epi32(pair, 16)
                                        : _mm256_and_si256(pair, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}

template <DType kType, int kHalves, int kWidth>
static void dense_tile(const LinearCall& call, std::size_t panel, std::size_t first_half) {
  const std::byte* weights = call.panels + panel * call.panel_bytes;
  const auto* x = static_cast<const float*>(call.x.words);
  constexpr std::size_t kBytes = kType == DType::kF32 ? 64 : 32;  // of one k
  Sums<kHalves, kWidth> sums;
  clear(sums);
  for (std::size_t k = 0; k < call.in_features; ++k, x += kWidth) {
    _mm_prefetch(weights + k * kBytes + kPrefetchBytes, _MM_HINT_T1);
    for (std::size_t h = 0; h < kHalves; ++h) {
      const __m256 weight = dense_at<kType>(weights, first_half + h, k);
      for (int n = 0; n < kWidth; ++n) {
        sums.value[h][n] = _mm256_fmadd_ps(weight, _mm256_set1_ps(x[n]), sums.value[h][n]);
      }
    }
  }
  store(call, panel, first_half, sums);
}

// A whole panel at once where the 16 registers hold its sums beside integer ones, else half by half.
template <DType kType, int kWidth, bool kExact>
static void quantized(const LinearCall& call, std::size_t first, std::size_t end) {
  constexpr int kHalves = kExact || kWidth <= 2 ? 2 : 1;
  for (std::size_t panel = first; panel < end && panel * kPanelRows < call.out_features; ++panel) {
    for (std::size_t half = 0; half < 2; half += kHalves)
      quantized_tile<kType, kHalves, kWidth, kExact>(call, panel, half);
  }
}

template <DType kType, int kWidth>
static void dense(const LinearCall& call, std::size_t first, std::size_t end) {
  for (std::size_t panel = first; panel < end && panel * kPanelRows < call.out_features; ++panel)
    dense_tile<kType, 2, kWidth>(call, panel, 0);
}

template <DType kType>
consteval LinearTypeKernels quantized_kernels() {
  return {.fast = {quantized<kType, 1, false>, quantized<kType, 2, false>, quantized<kType, 4, false>},
          .exact = {quantized<kType, 1, true>, quantized<kType, 2, true>, quantized<kType, 4, true>}};
}

template <DType kType>
consteval LinearTypeKernels dense_kernels() {
  return {.fast = {dense<kType, 1>, dense<kType, 2>, dense<kType, 4>},
          .exact = {dense<kType, 1>, dense<kType, 2>, dense<kType, 4>}};
}

}  // namespace
}  // namespace autoglm::kernels

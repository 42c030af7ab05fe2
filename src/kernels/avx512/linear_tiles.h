// SPDX-License-Identifier: Apache-2.0
// The loops of linear layers in AVX-512: a tile is kPanels panels of 16 output rows by kWidth columns of activations,
// accumulated in registers. The operations on one output element are the same, in the same order, in every tile.
// Everything here has internal linkage: it is compiled for more than the floor.
#pragma once

#include "kernels/avx512/panel_codes.h"
#include "kernels/linear_kernels.h"

namespace autoglm::kernels {
namespace {

// How far ahead weights are asked for. With a row or two a tile is one panel, read like a file: a short distance, which
// is what the processor keeps in flight. Else one group of panels: what the next tile reads at the same place, without
// a gap where one panel ends and the next begins, nor in the scale areas; a short distance when a group is too large
// for the second-level cache.
template <int kPanels, int kWidth>
AUTOGLM_INLINE std::size_t prefetch_distance(const LinearCall& call) {
  constexpr std::size_t kMost = std::size_t{384} << 10;
  constexpr std::size_t kShort = std::size_t{16} << 10;
  constexpr std::size_t kRow = std::size_t{6} << 10;
  if (call.ahead_period > 1) return call.ahead_bytes;
  if (kPanels == 1 && kWidth <= 2) return kRow;
  const std::size_t group = (kPanels == 1 ? 2 : kPanels) * call.panel_bytes;
  return group <= kMost ? group : kShort;
}

// The first part of k at which weights are asked for ahead.
AUTOGLM_INLINE std::size_t first_ahead(const LinearCall& call) {
  return call.ahead_period == 0 ? SIZE_MAX : call.ahead_phase;
}

// Whether part `index` of k asks for weights ahead; indices rise. The test of a period of 1 stands apart, so that it
// leaves the loop: one row of BF16 reads 54 GB/s a thread so, 46 with a comparison in each step (Zen 5).
AUTOGLM_INLINE bool asks_at(const LinearCall& call, std::size_t index, std::size_t& next) {
  if (call.ahead_period == 1) return true;
  if (index != next) return false;
  next += call.ahead_period;
  return true;
}

template <std::size_t kBytes>
AUTOGLM_INLINE void prefetch(const std::byte* from) {
  for (std::size_t at = 0; at < kBytes; at += 64) _mm_prefetch(from + at, _MM_HINT_T1);
}

// Unrolls at compile time: step.template operator()<0>(), <1>(), ...
template <int kFirst, int kEnd, typename Step>
AUTOGLM_INLINE void unroll(const Step& step) {
  if constexpr (kFirst < kEnd) {
    step.template operator()<kFirst>();
    unroll<kFirst + 1, kEnd>(step);
  }
}

template <int kPanels, int kWidth>
struct Sums {
  __m512 value[kPanels][kWidth];
};

template <int kPanels, int kWidth>
AUTOGLM_INLINE void clear(Sums<kPanels, kWidth>& sums) {
  for (int p = 0; p < kPanels; ++p) {
    for (int n = 0; n < kWidth; ++n) sums.value[p][n] = _mm512_setzero_ps();
  }
}

// Unrolled, so that no sum is ever indexed by a variable and all of them live in registers.
template <int kPanels, int kWidth>
AUTOGLM_INLINE void store(const LinearCall& call, std::size_t first_panel, const Sums<kPanels, kWidth>& sums) {
  unroll<0, kPanels>([&]<int kPanel>() __attribute__((always_inline)) {
    const std::size_t first = (first_panel + kPanel) * kPanelRows;
    if (first >= call.out_features) return;  // an empty panel that fills the group
    const std::size_t left = call.out_features - first;
    const __mmask16 rows = left >= kPanelRows ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
    const __m512 bias = call.bias != nullptr ? _mm512_maskz_loadu_ps(rows, call.bias + first) : _mm512_setzero_ps();
    unroll<0, kWidth>([&]<int kColumn>() __attribute__((always_inline)) {
      if (kColumn >= call.x.columns) return;
      float* out = call.out + kColumn * call.out_stride + first;
      __m512 value = sums.value[kPanel][kColumn];
      if (call.bias != nullptr) value = _mm512_add_ps(value, bias);
      if (call.accumulate) value = _mm512_add_ps(_mm512_maskz_loadu_ps(rows, out), value);
      _mm512_mask_storeu_ps(out, rows, value);
    });
  });
}

consteval int log2_of(int power) { return power <= 1 ? 0 : 1 + log2_of(power / 2); }

// Whether codes are asked for line by line between the products: in a burst they keep other loads waiting (Zen 5, one
// row of Q6_K: 25 GB/s a thread in bursts over four panels, 38 GB/s so). Wide tiles of groups of 16 have no slots left
// for it.
consteval bool asks_beside(DType type, int width) { return width <= 4 || block_shape(type).group == 32; }

// The lines of codes that are asked for beside quad kQuad of 32 k.
template <DType kType, int kQuad>
AUTOGLM_INLINE void prefetch_beside(const std::byte* from) {
  constexpr int kLines = block_shape(kType).bits;
  unroll<kQuad * kLines / 8, (kQuad + 1) * kLines / 8>(
      [&]<int kLine>() __attribute__((always_inline)) { _mm_prefetch(from + 64 * kLine, _MM_HINT_T0); });
}

// 32 k of kPanels panels with int8 activations. `codes` and `scales` are of panel 0, panel_bytes from one to the next.
// Codes are asked for `ahead` bytes ahead; 0 asks for what is there already, which costs less than a branch.
template <DType kType, int kPanels, int kWidth>
AUTOGLM_INLINE void add_part(const LinearCall& call, std::size_t block, std::size_t part,
                             const Factors (&factors)[kPanels], const std::byte* scales, const std::byte* codes,
                             std::size_t ahead, Sums<kPanels, kWidth>& sums) {
  constexpr BlockShape kShape = block_shape(kType);
  constexpr int kGroups = 32 / kShape.group;
  constexpr int kQuads = kShape.group / 4;
  const auto* words = static_cast<const std::int32_t*>(call.x.words) + block * 8 * kWidth;
  const float* scale_x = call.x.scale + block * kWidth;
  const float* sum_x = call.x.sum + block * kWidth;
  const std::int32_t* minus_sum = kGroups == 2 ? call.x.sum16 + 2 * block * kWidth : call.x.sum32 + block * kWidth;
  unroll<0, kGroups>([&]<int kGroup>() __attribute__((always_inline)) {
    __m512i dot[kPanels][kWidth];
    for (int n = 0; n < kWidth; ++n) {
      // The zero point enters as the accumulator's first value: -zero * sum(q8), exact in integers. Opaque between load
      // and shift: clang would shift one lane and then spread it, which takes the ports that products need.
      __m512i start = _mm512_setzero_si512();
      if constexpr (kShape.zero != 0) {
        start = _mm512_set1_epi32(minus_sum[kGroup * kWidth + n]);
        asm("" : "+v"(start));
        start = _mm512_slli_epi32(start, log2_of(kShape.zero));
      }
      for (int p = 0; p < kPanels; ++p) dot[p][n] = start;
    }
    unroll<kGroup * kQuads, (kGroup + 1) * kQuads>([&]<int kQuad>() __attribute__((always_inline)) {
      __m512i code[kPanels];
      for (int p = 0; p < kPanels; ++p) {
        const std::byte* panel_codes = codes + static_cast<std::size_t>(p) * call.panel_bytes;
        code[p] = quad_at<kType, kQuad>(panel_codes);
        if constexpr (asks_beside(kType, kWidth)) prefetch_beside<kType, kQuad>(panel_codes + ahead);
      }
      for (int n = 0; n < kWidth; ++n) {
        const __m512i x = _mm512_set1_epi32(words[kQuad * kWidth + n]);
        for (int p = 0; p < kPanels; ++p) dot[p][n] = _mm512_dpbusd_epi32(dot[p][n], code[p], x);
      }
    });
    const std::size_t group = part * kGroups + kGroup;
    for (int p = 0; p < kPanels; ++p) {
      const std::byte* panel_scales = scales + static_cast<std::size_t>(p) * call.panel_bytes;
      const __m512 scale = scale_at<kType>(factors[p], panel_scales, group);
      for (int n = 0; n < kWidth; ++n) {
        const __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[p][n]), scale);
        sums.value[p][n] = _mm512_fmadd_ps(scaled, _mm512_set1_ps(scale_x[n]), sums.value[p][n]);
      }
      if constexpr (!kShape.has_min) continue;
      const __m512 offset = offset_at<kType>(factors[p], panel_scales, group);
      for (int n = 0; n < kWidth; ++n) {
        if constexpr (kGroups == 1) {
          sums.value[p][n] = _mm512_fmadd_ps(offset, _mm512_set1_ps(sum_x[n]), sums.value[p][n]);
        } else {
          const __m512 sum = _mm512_cvtepi32_ps(_mm512_set1_epi32(-minus_sum[kGroup * kWidth + n]));
          sums.value[p][n] = _mm512_fmadd_ps(_mm512_mul_ps(offset, sum), _mm512_set1_ps(scale_x[n]), sums.value[p][n]);
        }
      }
    }
  });
}

// 32 k of kPanels panels with f32 activations. A sum waits four cycles for its last product: all of them take turns.
template <DType kType, int kPanels, int kWidth>
AUTOGLM_INLINE void add_part_exact(const LinearCall& call, std::size_t block, std::size_t part,
                                   const Factors (&factors)[kPanels], const std::byte* scales, const std::byte* codes,
                                   Sums<kPanels, kWidth>& sums) {
  constexpr BlockShape kShape = block_shape(kType);
  constexpr int kGroups = 32 / kShape.group;
  const float* x = static_cast<const float*>(call.x.words) + block * 32 * kWidth;
  unroll<0, 8>([&]<int kQuad>() __attribute__((always_inline)) {
    const std::size_t group = part * kGroups + kQuad * 4 / kShape.group;
    __m512 scale[kPanels];
    __m512 offset[kPanels];
    __m512i codes4[kPanels];
    for (int p = 0; p < kPanels; ++p) {
      const std::size_t at = static_cast<std::size_t>(p) * call.panel_bytes;
      scale[p] = scale_at<kType>(factors[p], scales + at, group);
      // scale * zero is exact (zero is a power of two), so one fused rounding gives scale * (code - zero).
      offset[p] = kShape.has_min ? offset_at<kType>(factors[p], scales + at, group)
                                 : _mm512_mul_ps(scale[p], _mm512_set1_ps(static_cast<float>(-kShape.zero)));
      codes4[p] = quad_at<kType, kQuad>(codes + at);
    }
    unroll<0, 4>([&]<int kByte>() __attribute__((always_inline)) {
      for (int p = 0; p < kPanels; ++p) {
        const __m512i code = _mm512_and_si512(_mm512_srli_epi32(codes4[p], 8 * kByte), _mm512_set1_epi32(255));
        const __m512 weight = _mm512_fmadd_ps(_mm512_cvtepi32_ps(code), scale[p], offset[p]);
        for (int n = 0; n < kWidth; ++n) {
          sums.value[p][n] =
              _mm512_fmadd_ps(weight, _mm512_set1_ps(x[(4 * kQuad + kByte) * kWidth + n]), sums.value[p][n]);
        }
      }
    });
  });
}

template <DType kType, int kPanels, int kWidth, bool kExact>
static void quantized_tile(const LinearCall& call, std::size_t panel) {
  constexpr std::size_t kParts = static_cast<std::size_t>(block_shape(kType).elements / 32);
  const std::byte* scales = call.panels + panel * call.panel_bytes;
  const std::byte* codes = scales + call.scale_area;
  const std::size_t blocks = call.in_features / 32;
  const std::size_t ahead = prefetch_distance<kPanels, kWidth>(call);
  std::size_t next_ahead = first_ahead(call);
  const bool asks_for_scales = next_ahead == 0;
  Sums<kPanels, kWidth> sums;
  clear(sums);
  for (std::size_t first = 0; first < blocks; first += kParts) {
    Factors factors[kPanels];
    for (int p = 0; p < kPanels; ++p) {
      const std::byte* panel_scales = scales + static_cast<std::size_t>(p) * call.panel_bytes;
      factors[p] = factors_at<kType>(panel_scales);
      if (asks_for_scales) prefetch<panel_scale_bytes(kType)>(panel_scales + ahead);
    }
#pragma clang loop unroll(disable)
    for (std::size_t part = 0; part < kParts; ++part) {
      const bool asks = asks_at(call, first + part, next_ahead);
      if constexpr (kExact || !asks_beside(kType, kWidth)) {
        for (int p = 0; asks && p < kPanels; ++p) {
          prefetch<panel_code_bytes(kType)>(codes + static_cast<std::size_t>(p) * call.panel_bytes + ahead);
        }
      }
      if constexpr (kExact) {
        add_part_exact<kType, kPanels, kWidth>(call, first + part, part, factors, scales, codes, sums);
      } else {
        add_part<kType, kPanels, kWidth>(call, first + part, part, factors, scales, codes, asks ? ahead : 0, sums);
      }
      codes += panel_code_bytes(kType);
    }
    scales += panel_scale_bytes(kType);
  }
  store(call, panel, sums);
}

// One k (F32, F16) or a pair (BF16) of 16 rows.
template <DType kType>
AUTOGLM_INLINE __m512 dense_at(const std::byte* panel, std::size_t k) {
  if constexpr (kType == DType::kF32) return _mm512_loadu_ps(panel + k * 64);
  if constexpr (kType == DType::kF16) return halves_at(panel + k * 32);
  const __m512i pair = _mm512_loadu_si512(panel + k / 2 * 64);
  return _mm512_castsi512_ps(k % 2 == 0 ? _mm512_slli_epi32(pair, 16)
                                        : _mm512_and_si512(pair, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}

// The parts of dense panels that are asked for ahead: as many k as make a line.
template <DType kType>
inline constexpr std::size_t kLineK = kType == DType::kF32 ? 1 : 2;

// `count` k of kPanels panels with f32 activations, from k on.
template <DType kType, int kPanels, int kWidth, int kCount>
AUTOGLM_INLINE void add_dense(const LinearCall& call, const std::byte* weights, std::size_t k,
                              Sums<kPanels, kWidth>& sums) {
  const auto* x = static_cast<const float*>(call.x.words) + k * kWidth;
  unroll<0, kCount>([&]<int kStep>() __attribute__((always_inline)) {
    for (int p = 0; p < kPanels; ++p) {
      const __m512 weight = dense_at<kType>(weights + static_cast<std::size_t>(p) * call.panel_bytes, k + kStep);
      for (int n = 0; n < kWidth; ++n) {
        sums.value[p][n] = _mm512_fmadd_ps(weight, _mm512_set1_ps(x[kStep * kWidth + n]), sums.value[p][n]);
      }
    }
  });
}

template <DType kType, int kPanels, int kWidth>
static void dense_tile(const LinearCall& call, std::size_t panel) {
  constexpr std::size_t kStep = kLineK<kType>;
  const std::byte* weights = call.panels + panel * call.panel_bytes;
  const std::size_t ahead = prefetch_distance<kPanels, kWidth>(call);
  std::size_t next_ahead = first_ahead(call);
  Sums<kPanels, kWidth> sums;
  clear(sums);
  std::size_t k = 0;
  for (std::size_t line = 0; k + kStep <= call.in_features; k += kStep, ++line) {
    if (asks_at(call, line, next_ahead)) {
      for (int p = 0; p < kPanels; ++p) {
        prefetch<64>(weights + static_cast<std::size_t>(p) * call.panel_bytes + line * 64 + ahead);
      }
    }
    add_dense<kType, kPanels, kWidth, static_cast<int>(kStep)>(call, weights, k, sums);
  }
  if (k < call.in_features) add_dense<kType, kPanels, kWidth, 1>(call, weights, k, sums);
  store(call, panel, sums);
}

// BF16 weights with BF16 activations.
template <int kPanels, int kWidth>
static void bf16_tile(const LinearCall& call, std::size_t panel) {
  const std::byte* weights = call.panels + panel * call.panel_bytes;
  const auto* x = static_cast<const std::int32_t*>(call.x.words);
  const std::size_t ahead = prefetch_distance<kPanels, kWidth>(call);
  std::size_t next_ahead = first_ahead(call);
  Sums<kPanels, kWidth> sums;
  clear(sums);
  for (std::size_t pair = 0; pair < (call.in_features + 1) / 2; ++pair, x += kWidth) {
    __m512bh weight[kPanels];
    const bool asks = asks_at(call, pair, next_ahead);
    for (int p = 0; p < kPanels; ++p) {
      const std::byte* from = weights + static_cast<std::size_t>(p) * call.panel_bytes + pair * 64;
      if (asks) prefetch<64>(from + ahead);
      weight[p] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(from));
    }
    for (int n = 0; n < kWidth; ++n) {
      const auto xn = reinterpret_cast<__m512bh>(_mm512_set1_epi32(x[n]));
      for (int p = 0; p < kPanels; ++p) sums.value[p][n] = _mm512_dpbf16_ps(sums.value[p][n], weight[p], xn);
    }
  }
  store(call, panel, sums);
}

// Panels taken together by a tile of this width: as many as the 32 registers hold, with int8 beside their integer sums.
// Two panels of six columns beat one of twelve: a broadcast serves two products (Zen 5: Q8_0 1.11 times, Q4_K 1.03). A
// tile that alone reads weights from memory takes one after the other: memory likes few streams (50 GB/s a thread for
// four rows of Q8_0, 31 with two panels).
consteval int other_panels(int width) { return width <= 2 ? 4 : width <= 8 ? 2 : 1; }

template <DType kType, int kPanels, int kWidth, bool kExact>
AUTOGLM_INLINE void quantized_tiles(const LinearCall& call, std::size_t first, std::size_t end) {
  for (std::size_t panel = first; panel < end; panel += kPanels) {
    quantized_tile<kType, kPanels, kWidth, kExact>(call, panel);
  }
}

template <DType kType, int kWidth, bool kExact>
static void quantized(const LinearCall& call, std::size_t first, std::size_t end) {
  if constexpr (kExact) {
    quantized_tiles<kType, other_panels(kWidth), kWidth, true>(call, first, end);
  } else if constexpr (kWidth <= 2 || kWidth > 6) {
    quantized_tiles<kType, 1, kWidth, false>(call, first, end);
  } else if (call.ahead_period == 1) {
    quantized_tiles<kType, 1, kWidth, false>(call, first, end);
  } else {
    quantized_tiles<kType, 2, kWidth, false>(call, first, end);
  }
}

template <DType kType, int kWidth>
static void dense(const LinearCall& call, std::size_t first, std::size_t end) {
  constexpr int kPanels = other_panels(kWidth);
  for (std::size_t panel = first; panel < end; panel += kPanels) dense_tile<kType, kPanels, kWidth>(call, panel);
}

template <int kWidth>
static void bf16_dot(const LinearCall& call, std::size_t first, std::size_t end) {
  constexpr int kPanels = other_panels(kWidth);
  for (std::size_t panel = first; panel < end; panel += kPanels) bf16_tile<kPanels, kWidth>(call, panel);
}

template <DType kType>
consteval LinearTypeKernels quantized_kernels() {
  return {.fast = {quantized<kType, 1, false>, quantized<kType, 2, false>, quantized<kType, 3, false>,
                   quantized<kType, 4, false>, quantized<kType, 5, false>, quantized<kType, 6, false>,
                   quantized<kType, 8, false>, quantized<kType, 12, false>},
          .exact = {quantized<kType, 1, true>, quantized<kType, 2, true>, quantized<kType, 3, true>,
                    quantized<kType, 4, true>, quantized<kType, 6, true>, quantized<kType, 8, true>,
                    quantized<kType, 12, true>}};
}

template <DType kType>
consteval LinearTypeKernels dense_kernels() {
  return {.fast = {dense<kType, 1>, dense<kType, 2>, dense<kType, 3>, dense<kType, 4>, dense<kType, 6>, dense<kType, 8>,
                   dense<kType, 12>},
          .exact = {dense<kType, 1>, dense<kType, 2>, dense<kType, 3>, dense<kType, 4>, dense<kType, 6>,
                    dense<kType, 8>, dense<kType, 12>}};
}

}  // namespace
}  // namespace autoglm::kernels

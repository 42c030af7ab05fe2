// SPDX-License-Identifier: Apache-2.0
// The roof loops for AVX-512: u8 x s8 products through vpdpbusd, bf16 through vdpbf16ps, f32 through vfmadd, and
// 64-byte loads.
#include <immintrin.h>

#include <bit>

#include "kernels/roof.h"

namespace autoglm::kernels {
namespace {

constexpr int kSums = 16;

double int8_macs(std::size_t rounds) {
  __m512i sums[kSums];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  __m512i left = _mm512_set1_epi8(3);
  __m512i right = _mm512_set1_epi8(5);
  for (std::size_t round = 0; round < rounds; ++round) {
#pragma clang loop unroll(full)
    for (int i = 0; i < kSums; ++i) {
      asm volatile("" : "+v"(left), "+v"(right));  // opaque operands: each product is computed
      sums[i] = _mm512_dpbusd_epi32(sums[i], left, right);
    }
  }
  double total = 0;
  for (const __m512i& sum : sums) {
    alignas(64) std::int32_t lanes[16];
    _mm512_store_si512(lanes, sum);
    for (const std::int32_t lane : lanes) total += lane;
  }
  return total;
}

double total_of(const __m512 (&sums)[kSums]) {
  double total = 0;
  for (const __m512& sum : sums) {
    alignas(64) float lanes[16];
    _mm512_store_ps(lanes, sum);
    for (const float lane : lanes) total += static_cast<double>(lane);
  }
  return total;
}

double f32_macs(std::size_t rounds) {
  __m512 sums[kSums];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  __m512 left = _mm512_set1_ps(3);
  __m512 right = _mm512_set1_ps(5);
  for (std::size_t round = 0; round < rounds; ++round) {
#pragma clang loop unroll(full)
    for (int i = 0; i < kSums; ++i) {
      asm volatile("" : "+v"(left), "+v"(right));
      sums[i] = _mm512_fmadd_ps(left, right, sums[i]);
    }
  }
  return total_of(sums);
}

double bf16_macs(std::size_t rounds) {
  __m512 sums[kSums];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  __m512i left = _mm512_set1_epi16(0x4040);   // bf16 3
  __m512i right = _mm512_set1_epi16(0x40a0);  // bf16 5
  for (std::size_t round = 0; round < rounds; ++round) {
#pragma clang loop unroll(full)
    for (int i = 0; i < kSums; ++i) {
      asm volatile("" : "+v"(left), "+v"(right));
      sums[i] = _mm512_dpbf16_ps(sums[i], std::bit_cast<__m512bh>(left), std::bit_cast<__m512bh>(right));
    }
  }
  return total_of(sums);
}

std::uint64_t read(const std::byte* from, std::size_t bytes) {
  const std::size_t stream_bytes = bytes / 4;
  __m512i sums[4] = {};
  for (std::size_t at = 0; at < stream_bytes; at += 64) {
#pragma clang loop unroll(full)
    for (std::size_t stream = 0; stream < 4; ++stream) {
      const std::byte* line = from + stream * stream_bytes + at;
      _mm_prefetch(reinterpret_cast<const char*>(line) + 2048, _MM_HINT_T0);
      sums[stream] = _mm512_add_epi64(sums[stream], _mm512_load_si512(line));
    }
  }
  const __m512i sum = _mm512_add_epi64(_mm512_add_epi64(sums[0], sums[1]), _mm512_add_epi64(sums[2], sums[3]));
  return static_cast<std::uint64_t>(_mm512_reduce_add_epi64(sum));
}

}  // namespace

const RoofTable& avx512_roof() {
  static constexpr RoofTable kTable{.int8 = {.macs_per_round = kSums * 64, .run = int8_macs},
                                    .bf16 = {.macs_per_round = kSums * 32, .run = bf16_macs},
                                    .f32 = {.macs_per_round = kSums * 16, .run = f32_macs},
                                    .read = read};
  return kTable;
}

}  // namespace autoglm::kernels

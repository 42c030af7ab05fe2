// SPDX-License-Identifier: Apache-2.0
// The roof loops for AVX-512: u8 x s8 products through vpdpbusd, and 64-byte loads.
#include <immintrin.h>

#include "kernels/roof.h"

namespace autoglm::kernels {
namespace {

constexpr int kSums = 16;

std::int64_t multiply_add(std::size_t rounds) {
  __m512i sums[kSums];
  for (int i = 0; i < kSums; ++i) sums[i] = _mm512_set1_epi32(i);
  __m512i left = _mm512_set1_epi8(3);
  __m512i right = _mm512_set1_epi8(5);
  for (std::size_t round = 0; round < rounds; ++round) {
#pragma clang loop unroll(full)
    for (int i = 0; i < kSums; ++i) {
      asm volatile("" : "+v"(left), "+v"(right));  // opaque operands: each product is computed
      sums[i] = _mm512_dpbusd_epi32(sums[i], left, right);
    }
  }
  for (int i = 1; i < kSums; ++i) sums[0] = _mm512_add_epi32(sums[0], sums[i]);
  return _mm512_reduce_add_epi32(sums[0]);
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
  static constexpr RoofTable kTable{.macs_per_round = kSums * 64, .multiply_add = multiply_add, .read = read};
  return kTable;
}

}  // namespace autoglm::kernels

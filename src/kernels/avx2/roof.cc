// SPDX-License-Identifier: Apache-2.0
// The roof loops for AVX2: u8 x s8 products through vpmaddubsw, vpmaddwd and vpaddd, f32 through vfmadd, and 32-byte
// loads.
#include <immintrin.h>

#include "kernels/roof.h"

namespace autoglm::kernels {
namespace {

constexpr int kSums = 10;  // enough chains to hide the latency, few enough for 16 registers

double int8_macs(std::size_t rounds) {
  __m256i sums[kSums];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  __m256i left = _mm256_set1_epi8(3);
  __m256i right = _mm256_set1_epi8(5);
  const __m256i ones = _mm256_set1_epi16(1);
  for (std::size_t round = 0; round < rounds; ++round) {
#pragma clang loop unroll(full)
    for (int i = 0; i < kSums; ++i) {
      asm volatile("" : "+x"(left), "+x"(right));  // opaque operands: each product is computed
      sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(_mm256_maddubs_epi16(left, right), ones));
    }
  }
  double total = 0;
  for (const __m256i& sum : sums) {
    alignas(32) std::int32_t lanes[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sum);
    for (const std::int32_t lane : lanes) total += lane;
  }
  return total;
}

double f32_macs(std::size_t rounds) {
  __m256 sums[kSums];
  for (__m256& sum : sums) sum = _mm256_setzero_ps();
  __m256 left = _mm256_set1_ps(3);
  __m256 right = _mm256_set1_ps(5);
  for (std::size_t round = 0; round < rounds; ++round) {
#pragma clang loop unroll(full)
    for (int i = 0; i < kSums; ++i) {
      asm volatile("" : "+x"(left), "+x"(right));
      sums[i] = _mm256_fmadd_ps(left, right, sums[i]);
    }
  }
  double total = 0;
  for (const __m256& sum : sums) {
    alignas(32) float lanes[8];
    _mm256_store_ps(lanes, sum);
    for (const float lane : lanes) total += static_cast<double>(lane);
  }
  return total;
}

std::uint64_t read(const std::byte* from, std::size_t bytes) {
  const std::size_t stream_bytes = bytes / 4;
  __m256i sums[4] = {};
  for (std::size_t at = 0; at < stream_bytes; at += 64) {
#pragma clang loop unroll(full)
    for (std::size_t stream = 0; stream < 4; ++stream) {
      const std::byte* line = from + stream * stream_bytes + at;
      _mm_prefetch(reinterpret_cast<const char*>(line) + 2048, _MM_HINT_T0);
      sums[stream] = _mm256_add_epi64(sums[stream], _mm256_load_si256(reinterpret_cast<const __m256i*>(line)));
      sums[stream] = _mm256_add_epi64(sums[stream], _mm256_load_si256(reinterpret_cast<const __m256i*>(line + 32)));
    }
  }
  const __m256i sum = _mm256_add_epi64(_mm256_add_epi64(sums[0], sums[1]), _mm256_add_epi64(sums[2], sums[3]));
  return static_cast<std::uint64_t>(_mm256_extract_epi64(sum, 0)) +
         static_cast<std::uint64_t>(_mm256_extract_epi64(sum, 1)) +
         static_cast<std::uint64_t>(_mm256_extract_epi64(sum, 2)) +
         static_cast<std::uint64_t>(_mm256_extract_epi64(sum, 3));
}

}  // namespace

const RoofTable& avx2_roof() {
  static constexpr RoofTable kTable{.int8 = {.macs_per_round = kSums * 32, .run = int8_macs},
                                    .bf16 = {},
                                    .f32 = {.macs_per_round = kSums * 8, .run = f32_macs},
                                    .read = read};
  return kTable;
}

}  // namespace autoglm::kernels

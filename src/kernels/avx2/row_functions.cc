// SPDX-License-Identifier: Apache-2.0
#include "kernels/row_functions.h"

#include "kernels/avx2/vector.h"

namespace autoglm::kernels {
namespace {

int largest_int(__m256i a) {
  const __m128i four = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  const __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

int sum_int(__m256i a) {
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}

void quantize(const float* x, std::size_t columns, std::int8_t* q8, float* scale, float* sum) {
  const __m256i magnitude_bits = _mm256_set1_epi32(0x7fffffff);
  for (std::size_t block = 0; block < columns / 32; ++block, x += 32, q8 += 32) {
    __m256 part[4];
    // Magnitudes compare as integers, and there a NaN is larger than infinity, which is larger than any number.
    __m256i largest = _mm256_setzero_si256();
    for (int i = 0; i < 4; ++i) {
      part[i] = _mm256_loadu_ps(x + 8 * i);
      largest = _mm256_max_epi32(largest, _mm256_and_si256(_mm256_castps_si256(part[i]), magnitude_bits));
    }
    const int bits = largest_int(largest);
    const bool finite = bits < 0x7f800000;
    const float top = __builtin_bit_cast(float, bits);
    const bool zero = !finite || top < 0x1.0p-100f;
    const __m256 inverse = _mm256_set1_ps(zero ? 0.0f : 127.0f / top);
    const __m256i kept = _mm256_set1_epi32(zero ? 0 : -1);
    __m256i code[4];
    for (int i = 0; i < 4; ++i) {
      code[i] = _mm256_and_si256(kept, _mm256_cvtps_epi32(_mm256_mul_ps(part[i], inverse)));
    }
    // The packs work within 128-bit lanes; the permutation puts the four-byte groups back in order.
    const __m256i words = _mm256_packs_epi32(code[0], code[1]);
    const __m256i more_words = _mm256_packs_epi32(code[2], code[3]);
    const __m256i bytes =
        _mm256_permutevar8x32_epi32(_mm256_packs_epi16(words, more_words), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q8), bytes);
    const __m256i total = _mm256_add_epi32(_mm256_add_epi32(code[0], code[1]), _mm256_add_epi32(code[2], code[3]));
    scale[block] = finite ? (zero ? 0.0f : top / 127.0f) : __builtin_nanf("");
    sum[block] = scale[block] * static_cast<float>(sum_int(total));
  }
}

}  // namespace

const RowTable& avx2_row_table() {
  static constexpr RowTable kTable = row_functions<Avx2>(quantize);
  return kTable;
}

}  // namespace autoglm::kernels

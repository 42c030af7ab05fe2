// SPDX-License-Identifier: Apache-2.0
#include "kernels/row_functions.h"

#include "kernels/avx512/vector.h"

namespace autoglm::kernels {
namespace {

void quantize(const float* x, std::size_t columns, std::int8_t* q8, float* scale, float* sum) {
  const __m512i magnitude_bits = _mm512_set1_epi32(0x7fffffff);
  for (std::size_t block = 0; block < columns / 32; ++block, x += 32, q8 += 32) {
    const __m512 low = _mm512_loadu_ps(x);
    const __m512 high = _mm512_loadu_ps(x + 16);
    // Magnitudes compare as integers, and there a NaN is larger than infinity, which is larger than any number.
    const __m512i largest = _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(low), magnitude_bits),
                                             _mm512_and_si512(_mm512_castps_si512(high), magnitude_bits));
    const int bits = _mm512_reduce_max_epi32(largest);
    const bool finite = bits < 0x7f800000;
    const float top = __builtin_bit_cast(float, bits);
    const bool zero = !finite || top < 0x1.0p-100f;
    const __m512 inverse = _mm512_set1_ps(zero ? 0.0f : 127.0f / top);
    const __mmask16 kept = zero ? 0 : 0xffff;
    const __m512i a = _mm512_maskz_cvtps_epi32(kept, _mm512_mul_ps(low, inverse));
    const __m512i b = _mm512_maskz_cvtps_epi32(kept, _mm512_mul_ps(high, inverse));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q8), _mm512_cvtepi32_epi8(a));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q8 + 16), _mm512_cvtepi32_epi8(b));
    scale[block] = finite ? (zero ? 0.0f : top / 127.0f) : __builtin_nanf("");
    sum[block] = scale[block] * static_cast<float>(_mm512_reduce_add_epi32(_mm512_add_epi32(a, b)));
  }
}

}  // namespace

const RowTable& avx512_row_table() {
  static constexpr RowTable kTable = row_functions<Avx512>(quantize);
  return kTable;
}

}  // namespace autoglm::kernels

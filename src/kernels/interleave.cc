// SPDX-License-Identifier: Apache-2.0
#include "kernels/interleave.h"

#include <immintrin.h>

#include <cstring>

namespace autoglm::kernels {
namespace {

constexpr std::size_t kAlignment = 64;

std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

std::uint32_t word_at(const std::byte* from) {
  std::uint32_t word;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

// Four rows at once: 4 x 4 words are transposed in registers.
void interleave_four(const std::byte* from, std::size_t stride, std::size_t words, std::size_t width,
                     std::uint32_t* to) {
  std::size_t i = 0;
  for (; i + 4 <= words; i += 4) {
    __m128 row0 = _mm_loadu_ps(reinterpret_cast<const float*>(from + 4 * i));
    __m128 row1 = _mm_loadu_ps(reinterpret_cast<const float*>(from + stride + 4 * i));
    __m128 row2 = _mm_loadu_ps(reinterpret_cast<const float*>(from + 2 * stride + 4 * i));
    __m128 row3 = _mm_loadu_ps(reinterpret_cast<const float*>(from + 3 * stride + 4 * i));
    _MM_TRANSPOSE4_PS(row0, row1, row2, row3);
    _mm_storeu_ps(reinterpret_cast<float*>(to + i * width), row0);
    _mm_storeu_ps(reinterpret_cast<float*>(to + (i + 1) * width), row1);
    _mm_storeu_ps(reinterpret_cast<float*>(to + (i + 2) * width), row2);
    _mm_storeu_ps(reinterpret_cast<float*>(to + (i + 3) * width), row3);
  }
  for (; i < words; ++i) {
    for (std::size_t n = 0; n < 4; ++n) to[i * width + n] = word_at(from + n * stride + 4 * i);
  }
}

// to[i * width + n] = word i of row n for the first `columns` of `width` rows, zero for the rest.
void interleave_words(const std::byte* from, std::size_t stride, std::size_t columns, std::size_t words,
                      std::size_t width, std::uint32_t* to) {
  std::size_t n = 0;
  for (; n + 4 <= columns; n += 4) interleave_four(from + n * stride, stride, words, width, to + n);
  for (; n < columns; ++n) {
    for (std::size_t i = 0; i < words; ++i) to[i * width + n] = word_at(from + n * stride + 4 * i);
  }
  for (; n < width; ++n) {
    for (std::size_t i = 0; i < words; ++i) to[i * width + n] = 0;
  }
}

// The last k of rows with an odd number of bf16, each paired with zero.
void interleave_odd_bf16(const std::uint16_t* last, std::size_t stride, std::size_t columns, std::uint32_t* to) {
  for (std::size_t n = 0; n < columns; ++n) to[n] = last[n * stride];
}

// Sums of 4 q8 (4 s32) of a 16-byte vector.
__m128i quad_sums(__m128i q8) { return _mm_madd_epi16(_mm_maddubs_epi16(_mm_set1_epi8(1), q8), _mm_set1_epi16(1)); }

// Minus the sums of 16 q8 of each column, from the interleaved words; `to` [groups, width].
void sum_groups(const std::uint32_t* words, std::size_t groups, std::size_t width, std::int32_t* to) {
  for (std::size_t g = 0; g < groups; ++g, words += 4 * width, to += width) {
    std::size_t n = 0;
    for (; n + 4 <= width; n += 4) {
      __m128i sum = _mm_setzero_si128();
      for (std::size_t quad = 0; quad < 4; ++quad) {
        sum =
            _mm_add_epi32(sum, quad_sums(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words + quad * width + n))));
      }
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + n), _mm_sub_epi32(_mm_setzero_si128(), sum));
    }
    for (; n < width; ++n) {
      const __m128i four = _mm_set_epi32(static_cast<int>(words[3 * width + n]), static_cast<int>(words[2 * width + n]),
                                         static_cast<int>(words[width + n]), static_cast<int>(words[n]));
      __m128i sum = quad_sums(four);
      sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(1, 0, 3, 2)));
      sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(2, 3, 0, 1)));
      to[n] = -_mm_cvtsi128_si32(sum);
    }
  }
}

// The parts of the tile that hold the integer sums.
void fill_sums(const TileLayout& layout, const ActivationTile& tile) {
  if (!layout.sum16 && !layout.sum32) return;
  auto* sum16 = const_cast<std::int32_t*>(tile.sum16);
  auto* sum32 = const_cast<std::int32_t*>(tile.sum32);
  const std::size_t width = layout.width;
  sum_groups(static_cast<const std::uint32_t*>(tile.words), layout.in_features / 16, width, sum16);
  if (!layout.sum32) return;
  for (std::size_t b = 0; b < layout.blocks(); ++b) {
    for (std::size_t n = 0; n < width; ++n)
      sum32[b * width + n] = sum16[2 * b * width + n] + sum16[(2 * b + 1) * width + n];
  }
}

}  // namespace

std::size_t TileLayout::bytes() const {
  std::size_t total = aligned(words() * width * 4);
  // Scale, sum, sum32 and two sum16 a block; the integer sums are laid out whether wanted or not.
  if (form == TileForm::kQ8) total += 3 * aligned(blocks() * width * 4) + aligned(2 * blocks() * width * 4);
  return total;
}

ActivationTile TileLayout::at(std::byte* memory, std::size_t columns) const {
  ActivationTile tile;
  tile.columns = static_cast<int>(columns);
  tile.words = memory;
  if (form != TileForm::kQ8) return tile;
  const std::size_t part = aligned(blocks() * width * 4);
  memory += aligned(words() * width * 4);
  tile.scale = reinterpret_cast<float*>(memory);
  tile.sum = reinterpret_cast<float*>(memory + part);
  tile.sum32 = reinterpret_cast<std::int32_t*>(memory + 2 * part);
  tile.sum16 = reinterpret_cast<std::int32_t*>(memory + 3 * part);
  return tile;
}

ActivationTile interleave(const TileLayout& layout, const Activations& in, std::size_t first, std::size_t columns,
                          std::byte* memory) {
  const ActivationTile tile = layout.at(memory, columns);
  const std::size_t width = layout.width;
  const std::size_t k = layout.in_features;
  auto* words = static_cast<std::uint32_t*>(const_cast<void*>(tile.words));
  if (layout.form == TileForm::kF32) {
    interleave_words(reinterpret_cast<const std::byte*>(in.f32 + first * k), 4 * k, columns, k, width, words);
  } else if (layout.form == TileForm::kBf16) {
    interleave_words(reinterpret_cast<const std::byte*>(in.bf16 + first * k), 2 * k, columns, k / 2, width, words);
    if (k % 2 != 0) {
      std::memset(words + k / 2 * width, 0, 4 * width);
      interleave_odd_bf16(in.bf16 + first * k + k - 1, k, columns, words + k / 2 * width);
    }
  } else {
    const std::size_t blocks = layout.blocks();
    const auto rows_of = [&](const auto* rows, std::size_t length) {
      return reinterpret_cast<const std::byte*>(rows + first * length);
    };
    interleave_words(rows_of(in.q8, k), k, columns, k / 4, width, words);
    interleave_words(rows_of(in.q8_scale, blocks), 4 * blocks, columns, blocks, width,
                     reinterpret_cast<std::uint32_t*>(const_cast<float*>(tile.scale)));
    interleave_words(rows_of(in.q8_sum, blocks), 4 * blocks, columns, blocks, width,
                     reinterpret_cast<std::uint32_t*>(const_cast<float*>(tile.sum)));
    fill_sums(layout, tile);
  }
  return tile;
}

ActivationTile single_row(const TileLayout& layout, const Activations& in, std::byte* memory) {
  if (layout.form == TileForm::kBf16 && layout.in_features % 2 != 0) return interleave(layout, in, 0, 1, memory);
  ActivationTile tile = layout.at(memory, 1);
  if (layout.form == TileForm::kF32) {
    tile.words = in.f32;
  } else if (layout.form == TileForm::kBf16) {
    tile.words = in.bf16;
  } else {
    tile.words = in.q8;
    tile.scale = in.q8_scale;
    tile.sum = in.q8_sum;
    fill_sums(layout, tile);
  }
  return tile;
}

}  // namespace autoglm::kernels

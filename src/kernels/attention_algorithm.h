// SPDX-License-Identifier: Apache-2.0
// Attention of one tile (row_table.h), written once over a vector type V: for each block of 32 tokens the scores of all
// queries, their online softmax, and the weighted sum of values.
//
// What makes a row's bits independent of its neighbours: a score is summed over dimensions 0, 1, ..; a value over
// tokens in rising position; blocks and segments are cut at absolute positions; tokens that a row may not see are never
// multiplied into values (their memory may hold anything), so a row that sees part of a block sums it alone. In int8
// sums are integers and such tokens have weight 0.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/outer_product.h"
#include "kernels/row_table.h"
#include "kernels/vector_math.h"

namespace autoglm::kernels {

// Turns the scores of one query into exp(score - largest so far) and rescales its state when the largest grew. Tokens
// outside `visible` (bit t = token t) get weight 0. With kScaled a score also takes the factor of its token.
template <typename V, bool kScaled>
AUTOGLM_KERNEL_INLINE void softmax_block(float* scores, std::uint32_t visible, float scale, const float* token_scales,
                                         float cap, float* values, std::size_t head_dim, float* largest, float* total) {
  using F = typename V::F;
  constexpr int kVectors = static_cast<int>(kTileTokens) / V::kLanes;
  const F scales = V::set(scale);
  const F minus_infinity = V::set(-__builtin_inff());
  F score[kVectors];
  F top = minus_infinity;
  for (int i = 0; i < kVectors; ++i) {
    score[i] = V::mul(V::load(scores + i * V::kLanes), scales);
    if constexpr (kScaled) score[i] = V::mul(score[i], V::load(token_scales + i * V::kLanes));
    if (cap != 0.0f) {
      const F caps = V::set(cap);
      score[i] = V::mul(caps, tanh<V>(V::div(score[i], caps)));
    }
    score[i] = V::keep(score[i], visible >> (i * V::kLanes), minus_infinity);
    top = V::max(top, score[i]);
  }
  F sum = V::load(total);
  F shift = V::set(*largest);
  if (V::any_above(top, shift)) {  // seldom, after the first blocks
    const float block_largest = V::largest(top);
    const F correction = exp<V>(V::set(*largest - block_largest));
    *largest = block_largest;
    shift = V::set(block_largest);
    sum = V::mul(sum, correction);
    for (std::size_t d = 0; d < head_dim; d += V::kLanes) V::store(values + d, V::mul(V::load(values + d), correction));
  }
  for (int i = 0; i < kVectors; ++i) {
    const F weight = V::keep(exp<V>(V::sub(score[i], shift)), visible >> (i * V::kLanes), V::zero());
    V::store(scores + i * V::kLanes, weight);
    sum = V::add(sum, weight);
  }
  V::store(total, sum);
}

template <typename V>
void clear(const AttentionState& state, std::size_t queries) {
  const typename V::F zero = V::zero();
  for (std::size_t i = 0; i < queries * state.value_stride; i += V::kLanes) V::store(state.values + i, zero);
  for (std::size_t i = 0; i < queries * kMaxLanes; i += V::kLanes) V::store(state.total + i, zero);
  for (std::size_t q = 0; q < queries; ++q) state.largest[q] = -__builtin_inff();
}

// The tokens [from, to) of a block that a row sees; none when from == to.
struct VisibleTokens {
  std::size_t from;
  std::size_t to;
};

template <typename V>
AUTOGLM_KERNEL_INLINE VisibleTokens visible_tokens(const AttentionTile& tile, std::size_t row, std::size_t block) {
  const std::size_t position = tile.first_position + row * tile.position_step;
  const std::size_t oldest = tile.window != 0 && position >= tile.window ? position + 1 - tile.window : 0;
  const std::size_t begin = block * kTileTokens;
  const std::size_t end = begin + kTileTokens;
  if (position < begin || oldest >= end) return {0, 0};
  return {oldest > begin ? oldest - begin : 0, position + 1 < end ? position + 1 - begin : kTileTokens};
}

template <typename V>
AUTOGLM_KERNEL_INLINE std::uint32_t visible_bits(const AttentionTile& tile, std::size_t row, std::size_t block) {
  const VisibleTokens seen = visible_tokens<V>(tile, row, block);
  return (seen.to == kTileTokens ? ~0u : (1u << seen.to) - 1u) & ~((1u << seen.from) - 1u);
}

// The rows [first, end) that see any token of a block; they follow each other.
struct SeeingRows {
  std::size_t first;
  std::size_t end;
};

template <typename V>
AUTOGLM_KERNEL_INLINE SeeingRows seeing_rows(const AttentionTile& tile, std::size_t block) {
  std::size_t first = 0;
  while (first < tile.rows && visible_tokens<V>(tile, first, block).to == 0) ++first;
  std::size_t end = first;
  while (end < tile.rows && visible_tokens<V>(tile, end, block).to != 0) ++end;
  return {first, end};
}

// The block that comes after `block`, or itself.
template <typename V>
AUTOGLM_KERNEL_INLINE std::size_t following(const AttentionTile& tile, std::size_t block) {
  return block + 1 < tile.end_block ? block + 1 : block;
}

// All rows of the tile against one block. Scores may touch tokens that a row does not see - every token has a lane of
// its own, which softmax_block() drops - but values may not.
template <typename V, typename Element>
AUTOGLM_KERNEL_INLINE void attend_block(const AttentionTile& tile, std::size_t block) {
  using Products = FloatProducts<V, Element>;
  const auto [first, end] = seeing_rows<V>(tile, block);
  if (first == end) return;

  const AttentionState& state = tile.state;
  const std::size_t group = tile.group;
  const std::size_t offset = tile.block_table[block] * tile.block_bytes;
  const auto* keys = reinterpret_cast<const Element*>(tile.keys + offset);
  const auto* values = reinterpret_cast<const Element*>(tile.values + offset);
  const std::size_t next_offset = tile.block_table[following<V>(tile, block)] * tile.block_bytes;
  const auto* next_values = reinterpret_cast<const Element*>(tile.values + next_offset);
  outer_products<V, Products, false, kQueryStride>((end - first) * group,
                                                   {.weights = tile.query + first * group * kQueryStride,
                                                    .matrix = keys,
                                                    .matrix_stride = kTileTokens,
                                                    .depth = tile.head_dim,
                                                    .out = tile.weights + first * group * kTileTokens,
                                                    .out_stride = kTileTokens,
                                                    .columns = kTileTokens,
                                                    .scales = tile.weight_scales,
                                                    .next = reinterpret_cast<const Element*>(tile.keys + next_offset)});
  for (std::size_t row = first; row < end; ++row) {
    const std::uint32_t bits = visible_bits<V>(tile, row, block);
    for (std::size_t q = row * group; q < (row + 1) * group; ++q) {
      softmax_block<V, false>(tile.weights + q * kTileTokens, bits, tile.scale, nullptr, tile.softcap,
                              state.values + q * state.value_stride, tile.head_dim, state.largest + q,
                              state.total + q * kMaxLanes);
    }
  }
  for (std::size_t row = first; row < end;) {
    const VisibleTokens seen = visible_tokens<V>(tile, row, block);
    std::size_t last = row + 1;  // rows that see the same tokens share a pass
    while (last < end && visible_tokens<V>(tile, last, block).from == seen.from &&
           visible_tokens<V>(tile, last, block).to == seen.to)
      ++last;
    outer_products<V, Products, true, kTileTokens>((last - row) * group,
                                                   {.weights = tile.weights + row * group * kTileTokens + seen.from,
                                                    .matrix = values + seen.from * tile.head_dim,
                                                    .matrix_stride = tile.head_dim,
                                                    .depth = seen.to - seen.from,
                                                    .out = state.values + row * group * state.value_stride,
                                                    .out_stride = state.value_stride,
                                                    .columns = tile.head_dim,
                                                    .scales = tile.weight_scales,
                                                    .next = next_values + seen.from * tile.head_dim});
    row = last;
  }
}

template <typename V, typename Element>
void attend(const AttentionTile& tile) {
  clear<V>(tile.state, tile.rows * tile.group);
  for (std::size_t block = tile.first_block; block < tile.end_block; ++block) attend_block<V, Element>(tile, block);
}

// weights * scales of their tokens as int16 codes; returns what a code is worth. Tokens outside `visible` get code 0,
// whatever their scale. A scale that is NaN makes the total NaN, and with it the row.
template <typename V>
AUTOGLM_KERNEL_INLINE float quantize_weights(const float* weights, const float* token_scales, std::uint32_t visible,
                                             float* total, Int16Pair* codes) {
  using F = typename V::F;
  constexpr int kVectors = static_cast<int>(kTileTokens) / V::kLanes;
  constexpr float kLargestCode = 32767;
  F product[kVectors];
  F tops = V::zero();
  F sum = V::load(total);
  for (int i = 0; i < kVectors; ++i) {
    const F scaled = V::mul(V::load(weights + i * V::kLanes), V::load(token_scales + i * V::kLanes));
    product[i] = V::keep(scaled, visible >> (i * V::kLanes), V::zero());
    tops = V::max(product[i], tops);
    sum = V::fma(product[i], V::zero(), sum);
  }
  V::store(total, sum);
  const float top = V::largest(tops);
  const bool zero = top < 0x1.0p-100f;
  const F inverse = V::set(zero ? 0.0f : kLargestCode / top);
  auto* to = reinterpret_cast<std::int16_t*>(codes);
  for (int i = 0; i < kVectors; ++i) V::store_codes_part(to + i * V::kLanes, V::mul(product[i], inverse), V::kLanes);
  return zero ? 0.0f : top / kLargestCode;
}

// The same as attend_block() in int8: a token that a row does not see has code 0 among its weights, so that all rows
// share one pass over the values.
template <typename V>
AUTOGLM_KERNEL_INLINE void attend_int8_block(const AttentionTile& tile, std::size_t block) {
  using Products = PairProducts<V>;
  const auto [first, end] = seeing_rows<V>(tile, block);
  if (first == end) return;

  const AttentionState& state = tile.state;
  const std::size_t group = tile.group;
  const std::size_t queries = (end - first) * group;
  const std::byte* keys = tile.keys + tile.block_table[block] * tile.block_bytes;
  const std::byte* values = tile.values + tile.block_table[block] * tile.block_bytes;
  const std::size_t next_offset = tile.block_table[following<V>(tile, block)] * tile.block_bytes;
  const auto* key_scales = reinterpret_cast<const float*>(keys + tile.scale_offset);
  const auto* value_scales = reinterpret_cast<const float*>(values + tile.scale_offset);
  outer_products<V, Products, false, kQueryStride>(
      queries, {.weights = tile.query_codes + first * group * kQueryStride,
                .matrix = reinterpret_cast<const Int8Pair*>(keys),
                .matrix_stride = kTileTokens,
                .depth = (tile.head_dim + 1) / 2,
                .out = tile.weights + first * group * kTileTokens,
                .out_stride = kTileTokens,
                .columns = kTileTokens,
                .scales = tile.weight_scales,
                .next = reinterpret_cast<const Int8Pair*>(tile.keys + next_offset)});
  for (std::size_t row = first; row < end; ++row) {
    const std::uint32_t bits = visible_bits<V>(tile, row, block);
    for (std::size_t q = row * group; q < (row + 1) * group; ++q) {
      float* weights = tile.weights + q * kTileTokens;
      float* total = state.total + q * kMaxLanes;
      softmax_block<V, true>(weights, bits, tile.scale * tile.query_scales[q], key_scales, tile.softcap,
                             state.values + q * state.value_stride, tile.head_dim, state.largest + q, total);
      tile.weight_scales[q] =
          quantize_weights<V>(weights, value_scales, bits, total, tile.weight_codes + q * kTileTokens / 2);
    }
  }
  outer_products<V, Products, true, kTileTokens / 2>(
      queries, {.weights = tile.weight_codes + first * group * kTileTokens / 2,
                .matrix = reinterpret_cast<const Int8Pair*>(values),
                .matrix_stride = tile.head_dim,
                .depth = kTileTokens / 2,
                .out = state.values + first * group * state.value_stride,
                .out_stride = state.value_stride,
                .columns = tile.head_dim,
                .scales = tile.weight_scales + first * group,
                .next = reinterpret_cast<const Int8Pair*>(tile.values + next_offset)});
}

template <typename V>
void attend_int8(const AttentionTile& tile) {
  clear<V>(tile.state, tile.rows * tile.group);
  for (std::size_t block = tile.first_block; block < tile.end_block; ++block) attend_int8_block<V>(tile, block);
}

// Joins two states of the same queries: sums scaled to the larger of the two maxima. A query that saw nothing in
// `later` is left alone, which depends on its position only.
template <typename V>
void merge(const AttentionState& earlier, const AttentionState& later, std::size_t queries) {
  using F = typename V::F;
  const float nothing = -__builtin_inff();
  for (std::size_t q = 0; q < queries; ++q) {
    if (later.largest[q] == nothing) continue;
    float* to = earlier.values + q * earlier.value_stride;
    const float* from = later.values + q * later.value_stride;
    if (earlier.largest[q] == nothing) {  // exactly a copy: a first segment may as well be computed in place
      earlier.largest[q] = later.largest[q];
      for (std::size_t d = 0; d < earlier.value_stride; d += V::kLanes) V::store(to + d, V::load(from + d));
      V::store(earlier.total + q * kMaxLanes, V::load(later.total + q * kMaxLanes));
      continue;
    }
    const float largest = earlier.largest[q] > later.largest[q] ? earlier.largest[q] : later.largest[q];
    const F a = exp<V>(V::set(earlier.largest[q] - largest));
    const F b = exp<V>(V::set(later.largest[q] - largest));
    earlier.largest[q] = largest;
    for (std::size_t d = 0; d < earlier.value_stride; d += V::kLanes) {
      V::store(to + d, V::fma(V::load(from + d), b, V::mul(V::load(to + d), a)));
    }
    to = earlier.total + q * kMaxLanes;
    from = later.total + q * kMaxLanes;
    V::store(to, V::fma(V::load(from), b, V::mul(V::load(to), a)));
  }
}

template <typename V>
void finish(const AttentionState& state, std::size_t queries, std::size_t head_dim, float* out) {
  using F = typename V::F;
  for (std::size_t q = 0; q < queries; ++q) {
    const F factor = V::set(1.0f / V::sum(V::load(state.total + q * kMaxLanes)));
    const float* from = state.values + q * state.value_stride;
    for (std::size_t d = 0; d < head_dim; d += V::kLanes) {
      const int left = head_dim - d >= V::kLanes ? V::kLanes : static_cast<int>(head_dim - d);
      V::store_part(out + q * head_dim + d, V::mul(V::load(from + d), factor), left);
    }
  }
}

}  // namespace autoglm::kernels

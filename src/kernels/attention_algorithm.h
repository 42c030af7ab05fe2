// SPDX-License-Identifier: Apache-2.0
// Attention of one tile (row_table.h), written once over a vector type V: for each block of 32 tokens the scores of all
// queries, their online softmax, and the weighted sum of values.
//
// What makes a row's bits independent of its neighbours: a score is summed over dimensions 0, 1, ..; a value over
// tokens in rising position; blocks and segments are cut at absolute positions; tokens that a row may not see are never
// multiplied into values (their memory may hold anything), so a row that sees part of a block sums it alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/row_table.h"
#include "kernels/vector_math.h"

namespace autoglm::kernels {

// out[q][0 .. columns) (+)= sum over k of weights[q][k] * matrix[k][..], for Q queries, k rising. Two vectors of
// columns at a time: Q x 2 sums live in registers. Serves scores (matrix = transposed keys) and values alike.
template <typename V, int Q, bool kAccumulate, std::size_t kWeightStride, typename Element>
AUTOGLM_KERNEL_INLINE void outer_product(const float* weights, const Element* matrix, std::size_t matrix_stride,
                                         std::size_t depth, float* out, std::size_t out_stride, std::size_t columns) {
  using F = typename V::F;
  constexpr std::size_t kLanes = V::kLanes;
  std::size_t c = 0;
  for (; c + 2 * kLanes <= columns; c += 2 * kLanes) {
    F sums[Q][2];
    for (int q = 0; q < Q; ++q) {
      sums[q][0] = kAccumulate ? V::load(out + q * out_stride + c) : V::zero();
      sums[q][1] = kAccumulate ? V::load(out + q * out_stride + c + kLanes) : V::zero();
    }
    const Element* row = matrix + c;
    for (std::size_t k = 0; k < depth; ++k, row += matrix_stride) {
      const F low = V::load(row);
      const F high = V::load(row + kLanes);
      for (int q = 0; q < Q; ++q) {
        const F weight = V::set(weights[static_cast<std::size_t>(q) * kWeightStride + k]);
        sums[q][0] = V::fma(weight, low, sums[q][0]);
        sums[q][1] = V::fma(weight, high, sums[q][1]);
      }
    }
    for (int q = 0; q < Q; ++q) {
      V::store(out + q * out_stride + c, sums[q][0]);
      V::store(out + q * out_stride + c + kLanes, sums[q][1]);
    }
  }
  for (; c < columns; c += kLanes) {  // a last single vector, perhaps partial; out is padded to whole vectors
    const int left = columns - c >= kLanes ? V::kLanes : static_cast<int>(columns - c);
    F sums[Q];
    for (int q = 0; q < Q; ++q) sums[q] = kAccumulate ? V::load(out + q * out_stride + c) : V::zero();
    const Element* row = matrix + c;
    for (std::size_t k = 0; k < depth; ++k, row += matrix_stride) {
      const F one = V::load_part(row, left);
      for (int q = 0; q < Q; ++q)
        sums[q] = V::fma(V::set(weights[static_cast<std::size_t>(q) * kWeightStride + k]), one, sums[q]);
    }
    for (int q = 0; q < Q; ++q) V::store(out + q * out_stride + c, sums[q]);
  }
}

// How many of `queries` the next pass takes: the most that a pass is compiled for.
template <typename V>
AUTOGLM_KERNEL_INLINE int pass_queries(std::size_t queries) {
  const int left = queries < static_cast<std::size_t>(V::kQueries) ? static_cast<int>(queries) : V::kQueries;
  if (left >= 12) return 12;
  if (left >= 8) return 8;
  return left == 7 ? 6 : left == 5 ? 4 : left;
}

// The same for any number of queries, at most V::kQueries in a pass.
template <typename V, bool kAccumulate, std::size_t kWeightStride, typename Element>
AUTOGLM_KERNEL_INLINE void outer_products(std::size_t queries, const float* weights, const Element* matrix,
                                          std::size_t matrix_stride, std::size_t depth, float* out,
                                          std::size_t out_stride, std::size_t columns) {
  while (queries > 0) {
    const int pass = pass_queries<V>(queries);
    const auto taken = static_cast<std::size_t>(pass);
    switch (pass) {
#define AUTOGLM_OUTER_PRODUCT(count)                                                                              \
  case count:                                                                                                     \
    if constexpr (count <= V::kQueries)                                                                           \
      outer_product<V, count, kAccumulate, kWeightStride>(weights, matrix, matrix_stride, depth, out, out_stride, \
                                                          columns);                                               \
    break
      AUTOGLM_OUTER_PRODUCT(1);
      AUTOGLM_OUTER_PRODUCT(2);
      AUTOGLM_OUTER_PRODUCT(3);
      AUTOGLM_OUTER_PRODUCT(4);
      AUTOGLM_OUTER_PRODUCT(6);
      AUTOGLM_OUTER_PRODUCT(8);
      AUTOGLM_OUTER_PRODUCT(12);
#undef AUTOGLM_OUTER_PRODUCT
      default:
        break;
    }
    queries -= taken;
    weights += taken * kWeightStride;
    out += taken * out_stride;
  }
}

// Turns the scores of one query into exp(score - largest so far) and rescales its state when the largest grew. Tokens
// outside `visible` (bit t = token t) get weight 0.
template <typename V>
AUTOGLM_KERNEL_INLINE void softmax_block(float* scores, std::uint32_t visible, float scale, float cap, float* values,
                                         std::size_t head_dim, float* largest, float* total) {
  using F = typename V::F;
  constexpr int kVectors = static_cast<int>(kTileTokens) / V::kLanes;
  const F scales = V::set(scale);
  const F minus_infinity = V::set(-__builtin_inff());
  F score[kVectors];
  F top = minus_infinity;
  for (int i = 0; i < kVectors; ++i) {
    score[i] = V::mul(V::load(scores + i * V::kLanes), scales);
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
  const std::size_t position = tile.first_position + row;
  const std::size_t oldest = tile.window != 0 && position >= tile.window ? position + 1 - tile.window : 0;
  const std::size_t begin = block * kTileTokens;
  const std::size_t end = begin + kTileTokens;
  if (position < begin || oldest >= end) return {0, 0};
  return {oldest > begin ? oldest - begin : 0, position + 1 < end ? position + 1 - begin : kTileTokens};
}

// All rows of the tile against one block. The rows that see any of it follow each other. Scores may touch tokens that a
// row does not see - every token has a lane of its own, which softmax_block() drops - but values may not.
template <typename V, typename Element>
AUTOGLM_KERNEL_INLINE void attend_block(const AttentionTile& tile, std::size_t block) {
  std::size_t first = 0;
  while (first < tile.rows && visible_tokens<V>(tile, first, block).to == 0) ++first;
  std::size_t end = first;
  while (end < tile.rows && visible_tokens<V>(tile, end, block).to != 0) ++end;
  if (first == end) return;

  const AttentionState& state = tile.state;
  const std::size_t group = tile.group;
  const std::size_t offset = tile.block_table[block] * tile.block_bytes;
  const auto* keys = reinterpret_cast<const Element*>(tile.keys + offset);
  const auto* values = reinterpret_cast<const Element*>(tile.values + offset);
  outer_products<V, false, kQueryStride>((end - first) * group, tile.query + first * group * kQueryStride, keys,
                                         kTileTokens, tile.head_dim, tile.weights + first * group * kTileTokens,
                                         kTileTokens, kTileTokens);
  for (std::size_t row = first; row < end; ++row) {
    const VisibleTokens seen = visible_tokens<V>(tile, row, block);
    const std::uint32_t bits = (seen.to == kTileTokens ? ~0u : (1u << seen.to) - 1u) & ~((1u << seen.from) - 1u);
    for (std::size_t q = row * group; q < (row + 1) * group; ++q) {
      softmax_block<V>(tile.weights + q * kTileTokens, bits, tile.scale, tile.softcap,
                       state.values + q * state.value_stride, tile.head_dim, state.largest + q,
                       state.total + q * kMaxLanes);
    }
  }
  for (std::size_t row = first; row < end;) {
    const VisibleTokens seen = visible_tokens<V>(tile, row, block);
    const bool whole = seen.from == 0 && seen.to == kTileTokens;
    std::size_t last = row + 1;  // rows that see the whole block share a pass
    while (whole && last < end && visible_tokens<V>(tile, last, block).to == kTileTokens &&
           visible_tokens<V>(tile, last, block).from == 0)
      ++last;
    outer_products<V, true, kTileTokens>((last - row) * group, tile.weights + row * group * kTileTokens + seen.from,
                                         values + seen.from * tile.head_dim, tile.head_dim, seen.to - seen.from,
                                         state.values + row * group * state.value_stride, state.value_stride,
                                         tile.head_dim);
    row = last;
  }
}

template <typename V, typename Element>
void attend(const AttentionTile& tile) {
  clear<V>(tile.state, tile.rows * tile.group);
  for (std::size_t block = tile.first_block; block < tile.end_block; ++block) attend_block<V, Element>(tile, block);
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

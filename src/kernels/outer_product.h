// SPDX-License-Identifier: Apache-2.0
// Outer products of attention, written once over a vector type V: some queries' weights with the rows of a block of
// keys or values, in floats or in pairs of int8. Sums live in registers; each runs in the order of the rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/row_table.h"
#include "kernels/vector_math.h"

namespace autoglm::kernels {

constexpr std::size_t kCacheLine = 64;  // bytes

// How outer products multiply. Floats: weights and sums are f32, the matrix f16 or f32.
template <typename V, typename MatrixElement>
struct FloatProducts {
  using Element = MatrixElement;
  using Weight = float;
  using Vector = typename V::F;
  using Sums = typename V::F;
  static constexpr int kFewQueries = 3;  // a sum must wait four cycles for its last addend
  static AUTOGLM_KERNEL_INLINE Vector load(const Element* from) { return V::load(from); }
  static AUTOGLM_KERNEL_INLINE Vector load_part(const Element* from, int count) { return V::load_part(from, count); }
  static AUTOGLM_KERNEL_INLINE Vector set(const Weight* weight) { return V::set(*weight); }
  static AUTOGLM_KERNEL_INLINE Sums add(Vector weight, Vector element, Sums sums) {
    return V::fma(weight, element, sums);
  }
  template <bool kAccumulate>
  static AUTOGLM_KERNEL_INLINE Sums begin(const float* out) {
    return kAccumulate ? V::load(out) : V::zero();
  }
  template <bool kAccumulate>
  static AUTOGLM_KERNEL_INLINE void end(float* out, Sums sums, const float*) {
    V::store(out, sums);
  }
};

// Pairs of int8 codes with pairs of int16 ones: sums are integers, exact in any order, and meet `out` at the end. No
// sum overflows: 127 * 32767 * kMaxHeadDim < 2^31.
template <typename V>
struct PairProducts {
  using Element = Int8Pair;
  using Weight = Int16Pair;
  using Vector = typename V::P;
  using Sums = typename V::I;
  static constexpr int kFewQueries = 1;
  static AUTOGLM_KERNEL_INLINE Vector load(const Element* from) { return V::load_pairs(from); }
  static AUTOGLM_KERNEL_INLINE Vector load_part(const Element* from, int count) {
    return V::load_pairs_part(from, count);
  }
  static AUTOGLM_KERNEL_INLINE Vector set(const Weight* weight) { return V::set_pair(weight); }
  static AUTOGLM_KERNEL_INLINE Sums add(Vector weight, Vector element, Sums sums) {
    return V::add_products(weight, element, sums);
  }
  template <bool kAccumulate>
  static AUTOGLM_KERNEL_INLINE Sums begin(const float*) {
    return V::no_sums();
  }
  template <bool kAccumulate>
  static AUTOGLM_KERNEL_INLINE void end(float* out, Sums sums, const float* scale) {
    const typename V::F value = V::to_float(sums);
    V::store(out, kAccumulate ? V::fma(value, V::set(*scale), V::load(out)) : value);
  }
};

// What an outer product reads and writes.
template <typename Products>
struct Operands {
  const typename Products::Weight* weights;  // [queries, depth], a constant stride apart
  const typename Products::Element* matrix;  // [depth, columns]
  std::size_t matrix_stride;
  std::size_t depth;
  float* out;  // [queries, columns], padded to whole vectors
  std::size_t out_stride;
  std::size_t columns;
  const float* scales;  // [queries], for sums of pairs that are accumulated
  // What is read where `matrix` is now, a block later: asked for on the way, as keys and values of a long context come
  // from memory and change pages too often for the processor to guess. `matrix` itself where nothing follows.
  const typename Products::Element* next;
};

// Columns [c, c + kVectors * V::kLanes) of an outer product: Q x kVectors sums live in registers.
template <typename V, typename Products, int Q, int kVectors, bool kAccumulate, std::size_t kWeightStride>
AUTOGLM_KERNEL_INLINE void outer_columns(const Operands<Products>& in, std::size_t c) {
  using Vector = typename Products::Vector;
  constexpr std::size_t kLanes = V::kLanes;
  typename Products::Sums sums[Q][kVectors];
  for (int q = 0; q < Q; ++q) {
    for (int v = 0; v < kVectors; ++v) {
      sums[q][v] = Products::template begin<kAccumulate>(in.out + q * in.out_stride + c + v * kLanes);
    }
  }
  const auto* row = in.matrix + c;
  const auto* next = in.next + c;
  for (std::size_t k = 0; k < in.depth; ++k, row += in.matrix_stride, next += in.matrix_stride) {
    for (std::size_t at = 0; at < kVectors * kLanes * sizeof(*next); at += kCacheLine) {
      __builtin_prefetch(reinterpret_cast<const std::byte*>(next) + at);
    }
    Vector element[kVectors];
    for (int v = 0; v < kVectors; ++v) element[v] = Products::load(row + v * kLanes);
    for (int q = 0; q < Q; ++q) {
      const Vector weight = Products::set(in.weights + static_cast<std::size_t>(q) * kWeightStride + k);
      for (int v = 0; v < kVectors; ++v) sums[q][v] = Products::add(weight, element[v], sums[q][v]);
    }
  }
  for (int q = 0; q < Q; ++q) {
    for (int v = 0; v < kVectors; ++v) {
      Products::template end<kAccumulate>(in.out + q * in.out_stride + c + v * kLanes, sums[q][v], in.scales + q);
    }
  }
}

// out[q][0 .. columns) (+)= sum over k of weights[q][k] * matrix[k][..], for Q queries, k rising. Serves scores (matrix
// = transposed keys) and values alike. Two vectors of columns at a time; of few queries four, so that no sum waits for
// itself.
template <typename V, typename Products, int Q, bool kAccumulate, std::size_t kWeightStride>
AUTOGLM_KERNEL_INLINE void outer_product(const Operands<Products>& in) {
  using Vector = typename Products::Vector;
  constexpr std::size_t kLanes = V::kLanes;
  constexpr int kWide = Q <= Products::kFewQueries ? 4 : 2;
  std::size_t c = 0;
  for (; c + kWide * kLanes <= in.columns; c += kWide * kLanes) {
    outer_columns<V, Products, Q, kWide, kAccumulate, kWeightStride>(in, c);
  }
  if (kWide > 2 && c + 2 * kLanes <= in.columns) {
    outer_columns<V, Products, Q, 2, kAccumulate, kWeightStride>(in, c);
    c += 2 * kLanes;
  }
  for (; c < in.columns; c += kLanes) {  // a last single vector, perhaps partial
    const int left = in.columns - c >= kLanes ? V::kLanes : static_cast<int>(in.columns - c);
    typename Products::Sums sums[Q];
    for (int q = 0; q < Q; ++q) sums[q] = Products::template begin<kAccumulate>(in.out + q * in.out_stride + c);
    const auto* row = in.matrix + c;
    for (std::size_t k = 0; k < in.depth; ++k, row += in.matrix_stride) {
      const Vector one = Products::load_part(row, left);
      for (int q = 0; q < Q; ++q) {
        const Vector weight = Products::set(in.weights + static_cast<std::size_t>(q) * kWeightStride + k);
        sums[q] = Products::add(weight, one, sums[q]);
      }
    }
    for (int q = 0; q < Q; ++q) {
      Products::template end<kAccumulate>(in.out + q * in.out_stride + c, sums[q], in.scales + q);
    }
  }
}

// How many of `queries` the next pass takes: the most that a pass is compiled for.
template <typename V>
AUTOGLM_KERNEL_INLINE int pass_queries(std::size_t queries) {
  const int left = queries < static_cast<std::size_t>(V::kQueries) ? static_cast<int>(queries) : V::kQueries;
  if (left >= 12) return 12;
  if (left >= 8) return 8;
  return left == 7 ? 4 : left == 5 ? 3 : left;  // a pass with one query costs almost as much as one with two
}

// The same for any number of queries, at most V::kQueries in a pass.
template <typename V, typename Products, bool kAccumulate, std::size_t kWeightStride>
AUTOGLM_KERNEL_INLINE void outer_products(std::size_t queries, Operands<Products> in) {
  while (queries > 0) {
    const int pass = pass_queries<V>(queries);
    const auto taken = static_cast<std::size_t>(pass);
    switch (pass) {
#define AUTOGLM_OUTER_PRODUCT(count)                                                                       \
  case count:                                                                                              \
    if constexpr (count <= V::kQueries) outer_product<V, Products, count, kAccumulate, kWeightStride>(in); \
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
    in.next = in.matrix;
    in.weights += taken * kWeightStride;
    in.out += taken * in.out_stride;
    in.scales += taken;
  }
}

}  // namespace autoglm::kernels

// SPDX-License-Identifier: Apache-2.0
// The row operations of row_table.h, written once over a vector type V. Each reduction runs in one order that depends
// on the row's length alone: two interleaved vectors of partial sums, added, then the fixed tree of V::sum.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/vector_math.h"

namespace autoglm::kernels {

// out[i] = function(vectors of up to three inputs at i). The last, partial vector reads zeros beyond the end.
template <typename V, typename Function>
AUTOGLM_KERNEL_INLINE void map_row(const float* a, const float* b, std::size_t columns, float* out, Function function) {
  constexpr std::size_t kLanes = V::kLanes;
  std::size_t i = 0;
  for (; i + kLanes <= columns; i += kLanes) V::store(out + i, function(V::load(a + i), V::load(b + i)));
  if (i < columns) {
    const int left = static_cast<int>(columns - i);
    V::store_part(out + i, function(V::load_part(a + i, left), V::load_part(b + i, left)), left);
  }
}

template <typename V>
float sum_of_squares(const float* x, std::size_t columns) {
  using F = typename V::F;
  constexpr std::size_t kLanes = V::kLanes;
  F even = V::zero();
  F odd = V::zero();
  std::size_t i = 0;
  for (; i + 2 * kLanes <= columns; i += 2 * kLanes) {
    const F a = V::load(x + i);
    const F b = V::load(x + i + kLanes);
    even = V::fma(a, a, even);
    odd = V::fma(b, b, odd);
  }
  for (; i < columns; i += kLanes) {
    const F a = columns - i >= kLanes ? V::load(x + i) : V::load_part(x + i, static_cast<int>(columns - i));
    even = V::fma(a, a, even);
  }
  return V::sum(V::add(even, odd));
}

template <typename V>
float inverse_rms(const float* x, float eps, std::size_t columns) {
  return 1.0f / __builtin_sqrtf(sum_of_squares<V>(x, columns) / static_cast<float>(columns) + eps);
}

template <typename V>
void rms_norm(const float* x, const float* weight, float eps, std::size_t columns, float* out) {
  using F = typename V::F;
  const F factor = V::set(inverse_rms<V>(x, eps, columns));
  map_row<V>(x, weight, columns, out, [&](F a, F w) { return V::mul(V::mul(a, factor), w); });
}

template <typename V>
void add(float* x, const float* y, std::size_t columns) {
  using F = typename V::F;
  map_row<V>(x, y, columns, x, [](F a, F b) { return V::add(a, b); });
}

template <typename V>
void add_norm(float* x, const float* y, const float* weight, float eps, std::size_t columns) {
  using F = typename V::F;
  constexpr std::size_t kLanes = V::kLanes;
  const F factor = V::set(inverse_rms<V>(y, eps, columns));
  std::size_t i = 0;
  for (; i + kLanes <= columns; i += kLanes) {
    const F normed = V::mul(V::mul(V::load(y + i), factor), V::load(weight + i));
    V::store(x + i, V::add(V::load(x + i), normed));
  }
  if (i < columns) {
    const int left = static_cast<int>(columns - i);
    const F normed = V::mul(V::mul(V::load_part(y + i, left), factor), V::load_part(weight + i, left));
    V::store_part(x + i, V::add(V::load_part(x + i, left), normed), left);
  }
}

template <typename V>
void silu_gate(const float* gate, const float* up, std::size_t columns, float* out) {
  using F = typename V::F;
  map_row<V>(gate, up, columns, out, [](F g, F u) { return V::mul(silu<V>(g), u); });
}

template <typename V>
void gelu_gate(const float* gate, const float* up, std::size_t columns, float* out) {
  using F = typename V::F;
  map_row<V>(gate, up, columns, out, [](F g, F u) { return V::mul(gelu_tanh<V>(g), u); });
}

template <typename V>
void multiply(float* x, float factor, std::size_t columns) {
  using F = typename V::F;
  const F factors = V::set(factor);
  map_row<V>(x, x, columns, x, [&](F a, F) { return V::mul(a, factors); });
}

template <typename V>
void softcap(float* x, float cap, std::size_t columns) {
  using F = typename V::F;
  const F caps = V::set(cap);
  map_row<V>(x, x, columns, x, [&](F a, F) { return V::mul(caps, tanh<V>(V::div(a, caps))); });
}

template <typename V>
void exponential(const float* x, std::size_t columns, float* out) {
  using F = typename V::F;
  map_row<V>(x, x, columns, out, [](F a, F) { return exp<V>(a); });
}

template <typename V>
void round_f16(const float* x, std::size_t columns, std::uint16_t* out) {
  constexpr std::size_t kLanes = V::kLanes;
  std::size_t i = 0;
  for (; i + kLanes <= columns; i += kLanes) V::store_f16_part(out + i, V::load(x + i), V::kLanes);
  const int left = static_cast<int>(columns - i);
  if (left > 0) V::store_f16_part(out + i, V::load_part(x + i, left), left);
}

template <typename V>
void round_bf16(const float* x, std::size_t columns, std::uint16_t* out) {
  constexpr std::size_t kLanes = V::kLanes;
  std::size_t i = 0;
  for (; i + kLanes <= columns; i += kLanes) V::store_bf16_part(out + i, V::load(x + i), V::kLanes);
  const int left = static_cast<int>(columns - i);
  if (left > 0) V::store_bf16_part(out + i, V::load_part(x + i, left), left);
}

// Rotary positions: (a, b) -> (a cos - b sin, b cos + a sin). Source: Su et al. 2021, arXiv:2104.09864.
// Pairs (j, j + half):
template <typename V>
void rotate_halves(float* x, const float* cos, const float* sin, std::size_t half) {
  using F = typename V::F;
  constexpr std::size_t kLanes = V::kLanes;
  for (std::size_t j = 0; j < half; j += kLanes) {
    const int left = half - j >= kLanes ? V::kLanes : static_cast<int>(half - j);
    const F a = V::load_part(x + j, left);
    const F b = V::load_part(x + half + j, left);
    const F c = V::load_part(cos + j, left);
    const F s = V::load_part(sin + j, left);
    V::store_part(x + j, V::sub(V::mul(a, c), V::mul(b, s)), left);
    V::store_part(x + half + j, V::fma(b, c, V::mul(a, s)), left);
  }
}

// Pairs (2j, 2j + 1):
template <typename V>
void rotate_pairs(float* x, const float* cos, const float* sin, std::size_t half) {
  using F = typename V::F;
  constexpr std::size_t kPairs = V::kLanes / 2;
  for (std::size_t j = 0; j < half; j += kPairs) {
    const int left = half - j >= kPairs ? static_cast<int>(kPairs) : static_cast<int>(half - j);
    const F a = V::load_part(x + 2 * j, 2 * left);
    const F cross = V::mul(V::swap_pairs(a), V::load_twice(sin + j, left));
    V::store_part(x + 2 * j, V::fma_sub_add(a, V::load_twice(cos + j, left), cross), 2 * left);
  }
}

}  // namespace autoglm::kernels

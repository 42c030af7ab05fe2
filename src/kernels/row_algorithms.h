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

// Folds a row into two vectors in turn and those into one number: an order that the row alone decides.
template <typename V, typename Fold>
AUTOGLM_KERNEL_INLINE float fold_row(const float* x, std::size_t columns, Fold fold) {
  using F = typename V::F;
  constexpr std::size_t kLanes = V::kLanes;
  F even = V::zero();
  F odd = V::zero();
  std::size_t i = 0;
  for (; i + 2 * kLanes <= columns; i += 2 * kLanes) {
    even = fold(V::load(x + i), even);
    odd = fold(V::load(x + i + kLanes), odd);
  }
  for (; i < columns; i += kLanes) {
    const F a = columns - i >= kLanes ? V::load(x + i) : V::load_part(x + i, static_cast<int>(columns - i));
    even = fold(a, even);
  }
  return V::sum(V::add(even, odd));
}

template <typename V>
float sum_of_squares(const float* x, std::size_t columns) {
  using F = typename V::F;
  return fold_row<V>(x, columns, [](F a, F sum) { return V::fma(a, a, sum); });
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
float sum_of(const float* x, std::size_t columns) {
  using F = typename V::F;
  return fold_row<V>(x, columns, [](F a, F sum) { return V::add(a, sum); });
}

template <typename V>
void layer_norm(const float* x, const float* weight, const float* bias, float eps, std::size_t columns, float* out) {
  using F = typename V::F;
  constexpr std::size_t kLanes = V::kLanes;
  const F mean = V::set(sum_of<V>(x, columns) / static_cast<float>(columns));
  map_row<V>(x, x, columns, out, [&](F a, F) { return V::sub(a, mean); });
  const F factor = V::set(inverse_rms<V>(out, eps, columns));
  std::size_t i = 0;
  for (; i + kLanes <= columns; i += kLanes) {
    V::store(out + i, V::fma(V::mul(V::load(out + i), factor), V::load(weight + i), V::load(bias + i)));
  }
  if (i < columns) {
    const int left = static_cast<int>(columns - i);
    const F scaled = V::mul(V::load_part(out + i, left), factor);
    V::store_part(out + i, V::fma(scaled, V::load_part(weight + i, left), V::load_part(bias + i, left)), left);
  }
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
void gelu_row(const float* x, std::size_t columns, float* out) {
  using F = typename V::F;
  map_row<V>(x, x, columns, out, [](F a, F) { return gelu<V>(a); });
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

template <typename V>
float quantize_head(const float* x, std::size_t columns, float largest_code, std::int16_t* codes) {
  using F = typename V::F;
  constexpr std::size_t kLanes = V::kLanes;
  F tops = V::zero();
  F nothing = V::zero();  // NaN once an x is not finite
  for (std::size_t i = 0; i < columns; i += kLanes) {
    const int left = columns - i >= kLanes ? V::kLanes : static_cast<int>(columns - i);
    const F a = V::load_part(x + i, left);
    tops = V::max(V::abs(a), tops);
    nothing = V::fma(a, V::zero(), nothing);
  }
  const float top = V::largest(tops);
  const bool finite = V::sum(nothing) == 0.0f;
  const bool zero = !finite || top < 0x1.0p-100f;
  const F inverse = V::set(zero ? 0.0f : largest_code / top);
  for (std::size_t i = 0; i < columns; i += kLanes) {
    const int left = columns - i >= kLanes ? V::kLanes : static_cast<int>(columns - i);
    V::store_codes_part(codes + i, V::mul(V::load_part(x + i, left), inverse), left);
  }
  return finite ? (zero ? 0.0f : top / largest_code) : __builtin_nanf("");
}

// The butterflies of lanes kDistance apart, then those of the half: (a, b) -> (a + b, a - b).
template <typename V, int kDistance>
AUTOGLM_KERNEL_INLINE typename V::F butterflies(typename V::F a) {
  if constexpr (kDistance == 0) {
    return a;
  } else {
    std::uint32_t upper = 0;  // the second of each pair
    for (int i = 0; i < V::kLanes; ++i) upper |= (i & kDistance) != 0 ? 1u << i : 0u;
    const typename V::F signed_a = V::keep(V::sub(V::zero(), a), upper, a);
    return butterflies<V, kDistance / 2>(V::add(V::template swap<kDistance>(a), signed_a));
  }
}

// One run whose size is a power of two.
template <typename V>
AUTOGLM_KERNEL_INLINE void spread_run(float* x, std::size_t size, float factor) {
  using F = typename V::F;
  constexpr std::size_t kLanes = V::kLanes;
  for (std::size_t distance = size / 2; distance >= kLanes; distance /= 2) {
    for (std::size_t first = 0; first < size; first += 2 * distance) {
      for (std::size_t i = first; i < first + distance; i += kLanes) {
        const F a = V::load(x + i);
        const F b = V::load(x + i + distance);
        V::store(x + i, V::add(a, b));
        V::store(x + i + distance, V::sub(a, b));
      }
    }
  }
  if (size >= kLanes) {
    const F factors = V::set(factor);
    for (std::size_t i = 0; i < size; i += kLanes) {
      V::store(x + i, V::mul(butterflies<V, V::kLanes / 2>(V::load(x + i)), factors));
    }
    return;
  }
  for (std::size_t distance = size / 2; distance > 0; distance /= 2) {  // shorter than a vector
    for (std::size_t i = 0; i < size; ++i) {
      if ((i & distance) != 0) continue;
      const float a = x[i];
      const float b = x[i + distance];
      x[i] = a + b;
      x[i + distance] = a - b;
    }
  }
  for (std::size_t i = 0; i < size; ++i) x[i] *= factor;
}

template <typename V>
void spread(float* x, std::size_t columns, float factor) {
  const std::size_t size = columns & (~columns + 1);
  for (std::size_t first = 0; first < columns; first += size) spread_run<V>(x + first, size, factor);
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

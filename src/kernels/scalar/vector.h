// SPDX-License-Identifier: Apache-2.0
// The vector type of the portable kernels: four floats in the compiler's own vector type, which every processor has in
// some form, product and sum rounded apart. Same verbs as avx2/vector.h and avx512/vector.h. Only units of scalar/
// include it.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/half.h"
#include "kernels/row_table.h"
#include "kernels/vector_math.h"

namespace autoglm::kernels {
namespace {

struct Scalar4 {
  static constexpr int kLanes = 4;
  static constexpr int kQueries = 4;  // rows of the outer product in the attention kernel
  using F = float __attribute__((vector_size(4 * kLanes)));
  using Bits = std::uint32_t __attribute__((vector_size(4 * kLanes)));
  using Ints = std::int32_t __attribute__((vector_size(4 * kLanes)));

  template <typename Function>
  static AUTOGLM_KERNEL_INLINE F each(Function function) {
    return F{function(0), function(1), function(2), function(3)};
  }

  static F set(float value) { return F{value, value, value, value}; }
  static F zero() { return F{}; }
  static F load(const float* from) {
    F out;
    std::memcpy(&out, from, sizeof(out));
    return out;
  }
  static F load_part(const float* from, int count) {
    return each([&](int i) { return i < count ? from[i] : 0.0f; });
  }
  static F load(const std::uint16_t* from) {
    std::uint16_t __attribute__((vector_size(2 * kLanes))) halves;
    std::memcpy(&halves, from, sizeof(halves));
    return widened_f16<F>(__builtin_convertvector(halves, Bits));
  }
  static F load_part(const std::uint16_t* from, int count) {
    return each([&](int i) { return i < count ? f32_from_f16(from[i]) : 0.0f; });
  }
  static void store(float* to, F a) { std::memcpy(to, &a, sizeof(a)); }
  static void store_part(float* to, F a, int count) {
    for (int i = 0; i < count; ++i) to[i] = a[i];
  }
  static void store_f16_part(std::uint16_t* to, F a, int count) {
    for (int i = 0; i < count; ++i) to[i] = f16_from_f32(a[i]);
  }
  static void store_bf16_part(std::uint16_t* to, F a, int count) {
    for (int i = 0; i < count; ++i) to[i] = bf16_from_f32(a[i]);
  }

  static F add(F a, F b) { return a + b; }
  static F sub(F a, F b) { return a - b; }
  static F mul(F a, F b) { return a * b; }
  static F div(F a, F b) { return a / b; }
  static F fma(F a, F b, F c) { return a * b + c; }
  // As maxps and minps: the second operand when one is NaN.
  static F max(F a, F b) { return a > b ? a : b; }
  static F min(F a, F b) { return a < b ? a : b; }
  static F abs(F a) {
    return each([&](int i) { return std::fabs(a[i]); });
  }
  static F round(F a) {
    return each([&](int i) { return std::nearbyint(a[i]); });
  }
  // a * 2^n for integral n in [-126, 127].
  static F times_pow2(F a, F n) {
    const auto is_number = n == n;  // no integer holds a NaN
    const Ints exponent = __builtin_convertvector(is_number ? n : zero(), Ints) + 127;
    return is_number ? a * std::bit_cast<F>(exponent << 23) : n;
  }
  // a < b ? yes : no, lane by lane; false when one is NaN.
  static F select_less(F a, F b, F yes, F no) { return a < b ? yes : no; }
  // Lane i where bit i is set, else `other`.
  static F keep(F a, std::uint32_t bits, F other) { return (Bits{1, 2, 4, 8} & bits) != 0u ? a : other; }
  static float sum(F a) { return (a[0] + a[2]) + (a[1] + a[3]); }
  static float largest(F a) {
    const float low = a[0] > a[2] ? a[0] : a[2];
    const float high = a[1] > a[3] ? a[1] : a[3];
    return low > high ? low : high;
  }
  // Whether a > b in any lane.
  static bool any_above(F a, F b) {
    bool above = false;
    for (int i = 0; i < kLanes; ++i) above = above || a[i] > b[i];
    return above;
  }

  // Lane i from lane i ^ kDistance.
  template <int kDistance>
  static F swap(F a) {
    return each([&](int i) { return a[i ^ kDistance]; });
  }

  // kLanes pairs of int16, and the int32 sums of their products, which wrap around.
  struct P {
    std::int16_t code[2 * kLanes];
  };
  struct I {
    std::uint32_t lane[kLanes];
  };
  static I no_sums() { return {}; }
  static P load_pairs_part(const Int8Pair* from, int count) {
    P out = {};
    for (int i = 0; i < count; ++i) {
      out.code[2 * i] = from[i].first;
      out.code[2 * i + 1] = from[i].second;
    }
    return out;
  }
  static P load_pairs(const Int8Pair* from) { return load_pairs_part(from, kLanes); }
  static P set_pair(const Int16Pair* from) {
    P out;
    for (int i = 0; i < kLanes; ++i) {
      out.code[2 * i] = from->first;
      out.code[2 * i + 1] = from->second;
    }
    return out;
  }
  static I add_products(P a, P b, I sums) {
    for (int i = 0; i < kLanes; ++i) {
      sums.lane[i] += static_cast<std::uint32_t>(a.code[2 * i] * b.code[2 * i]);
      sums.lane[i] += static_cast<std::uint32_t>(a.code[2 * i + 1] * b.code[2 * i + 1]);
    }
    return sums;
  }
  static F to_float(I sums) {
    return each([&](int i) { return static_cast<float>(static_cast<std::int32_t>(sums.lane[i])); });
  }
  // Rounded to even; a NaN becomes the least code.
  static void store_codes_part(std::int16_t* to, F a, int count) {
    for (int i = 0; i < count; ++i) {
      const bool fits = a[i] > -32768.0f && a[i] < 32767.5f;
      to[i] = fits ? static_cast<std::int16_t>(std::nearbyint(a[i])) : std::int16_t{-32768};
    }
  }

  // Pairs (a0, a1), (a2, a3): each pair swapped; each of the first kLanes / 2 (or `count`) floats twice.
  static F swap_pairs(F a) {
    return each([&](int i) { return a[i ^ 1]; });
  }
  static F load_twice(const float* from, int count) {
    return each([&](int i) { return i / 2 < count ? from[i / 2] : 0.0f; });
  }
  // a * b - c in even lanes, a * b + c in odd ones.
  static F fma_sub_add(F a, F b, F c) {
    return each([&](int i) { return i % 2 == 0 ? a[i] * b[i] - c[i] : a[i] * b[i] + c[i]; });
  }
};

}  // namespace
}  // namespace autoglm::kernels

// SPDX-License-Identifier: Apache-2.0
#include "kernels/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "kernels/half.h"

namespace autoglm::kernels {
namespace {

using Values = std::span<const float>;

constexpr std::size_t kBlock = 32;
constexpr int kLanes = 8;  // sums that run side by side, so that the loops below become vector instructions

// 1.5 * 2^23: adding and taking it away leaves the nearest integer, ties to even, of anything below 2^22.
constexpr float kRounder = 12582912.0f;

// value = scale * code + base, codes from 0 to top.
struct Fit {
  float scale = 0;
  float base = 0;
  float error = std::numeric_limits<float>::infinity();  // sum of squares
};

float code_of(float value, float inverse, float base, float top) {
  return (std::clamp((value - base) * inverse, 0.0f, top) + kRounder) - kRounder;
}

float inverse_of(float scale) { return scale == 0 ? 0 : 1 / scale; }

float squared_error(Values values, float scale, float base, float top) {
  const float inverse = inverse_of(scale);
  float sums[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float value = values[i + lane];
      const float error = value - (scale * code_of(value, inverse, base, top) + base);
      sums[lane] += error * error;
    }
  }
  for (; i < values.size(); ++i) {
    const float error = values[i] - (scale * code_of(values[i], inverse, base, top) + base);
    sums[0] += error * error;
  }
  float sum = 0;
  for (const float lane : sums) sum += lane;
  return sum;
}

// Keeps the better of `best` and this one.
void consider(Values values, float scale, float base, float top, Fit& best) {
  const float error = squared_error(values, scale, base, top);
  if (error < best.error) best = {scale, base, error};
}

// Sums over the codes that a fit gives, for the line through (code, value) with the least squares.
struct Moments {
  double code = 0, code_code = 0, value = 0, value_code = 0;
};

Moments moments_of(Values values, const Fit& fit, float top) {
  const float inverse = inverse_of(fit.scale);
  Moments sums;
  for (const float value : values) {
    const double code = code_of(value, inverse, fit.base, top);
    sums.code += code;
    sums.code_code += code * code;
    sums.value += value;
    sums.value_code += code * value;
  }
  return sums;
}

// Below 2^-16 an f16 is a multiple of 2^-24 with at most eight bits, which is a bf16 too; above, every bf16 is an f16.
bool is_half(float magnitude, ScaleGrid grid) { return grid == ScaleGrid::kF16 || magnitude < 0x1p-16f; }

float nearest(float value, ScaleGrid grid) {
  return is_half(std::fabs(value), grid) ? f32_from_f16(f16_from_f32(value)) : f32_from_bf16(bf16_from_f32(value));
}

// The least number of the grid that is not below `value` >= 0.
float not_below(float value, ScaleGrid grid) {
  const bool half = is_half(value, grid);
  const auto bits = half ? f16_from_f32(value) : bf16_from_f32(value);
  const float rounded = half ? f32_from_f16(bits) : f32_from_bf16(bits);
  if (rounded >= value) return rounded;
  const auto next = static_cast<std::uint16_t>(bits + 1);
  return half ? f32_from_f16(next) : f32_from_bf16(next);
}

float largest_magnitude(Values values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::fabs(value));
  return largest;
}

// The least squares' scale for codes as they are and a fixed zero; twice, as new codes ask for a new scale.
void refit_scale(Values values, float zero, float top, ScaleGrid grid, Fit& best) {
  for (int turn = 0; turn < 2; ++turn) {
    const Moments sums = moments_of(values, best, top);
    const double square = sums.code_code - 2.0 * zero * sums.code + static_cast<double>(values.size()) * zero * zero;
    if (square <= 0) return;
    const float scale = nearest(static_cast<float>((sums.value_code - zero * sums.value) / square), grid);
    consider(values, scale, -zero * scale, top, best);
  }
}

// The largest of more values lies farther out, so that cutting it off pays over a wider range. On normal values the
// steps for a block leave 0.2 % more error than three times as many.
struct Search {
  int steps;
  float divisor;  // between one scale and the next, of max / divisor
  float cut;      // the same for a range, of the range
};

Search search_of(Values values) { return values.size() <= kBlock ? Search{5, 0.5f, 0.03f} : Search{16, 0.4f, 0.02f}; }

// Codes 0 to 15 around 8. Smaller scales than max / 7 cut off the largest values and are finer for all others.
Fit fit_symmetric4(Values values, bool may_be_negative, ScaleGrid grid) {
  constexpr float kTop = 15, kZero = 8;
  const float largest = largest_magnitude(values);
  Fit best;
  const float widest = not_below(largest / 7, grid);
  consider(values, widest, -kZero * widest, kTop, best);
  const Search search = search_of(values);
  for (int step = 0; step < search.steps; ++step) {
    const float scale = nearest(largest / (7 + search.divisor * static_cast<float>(step)), grid);
    consider(values, scale, -kZero * scale, kTop, best);
    if (may_be_negative) consider(values, -scale, kZero * scale, kTop, best);
  }
  refit_scale(values, kZero, kTop, grid, best);
  return best;
}

Fit fit_symmetric8(Values values, ScaleGrid grid) {
  const float scale = not_below(largest_magnitude(values) / 127, grid);
  return {scale, -128 * scale, squared_error(values, scale, -128 * scale, 255)};
}

// A whole code for zero. `best` starts as the symmetric fit, which is one of these too.
Fit fit_asymmetric(Values values, int bits, ScaleGrid grid, Fit best) {
  const float top = bits == 4 ? 15 : 255;
  const auto [low, high] = std::ranges::minmax(values);
  const float from = std::min(low, 0.0f);
  const float range = std::max(high, 0.0f) - from;
  if (range == 0) return best;
  const Search search = search_of(values);
  for (int step = 0; step < (bits == 4 ? search.steps : 1); ++step) {
    const float wanted = range / top * (1 - search.cut * static_cast<float>(step));
    const float scale = step == 0 ? not_below(wanted, grid) : nearest(wanted, grid);
    const float zero = std::floor(-from / range * top);
    for (const float candidate : {zero, std::min(zero + 1, top)}) {
      consider(values, scale, -candidate * scale, top, best);
    }
  }
  if (bits == 4 && best.scale > 0) refit_scale(values, std::nearbyint(-best.base / best.scale), top, grid, best);
  return best;
}

// Scale and minimum both free, in f16.
Fit fit_minimum4(Values values) {
  constexpr float kTop = 15;
  const auto half = [](float value) { return nearest(value, ScaleGrid::kF16); };
  Fit best = fit_symmetric4(values, true, ScaleGrid::kF16);
  const auto [low, high] = std::ranges::minmax(values);
  const Search search = search_of(values);
  for (int step = 0; step < search.steps; ++step) {
    const float cut = search.cut * static_cast<float>(step) * (high - low);
    const float wanted = (high - low - cut) / kTop;
    const float scale = step == 0 ? not_below(wanted, ScaleGrid::kF16) : half(wanted);
    consider(values, scale, half(low + cut / 2), kTop, best);
  }
  for (int turn = 0; turn < 2; ++turn) {
    const Moments sums = moments_of(values, best, kTop);
    const auto count = static_cast<double>(values.size());
    const double spread = count * sums.code_code - sums.code * sums.code;
    if (spread <= 0) break;
    const double scale = (count * sums.value_code - sums.code * sums.value) / spread;
    const double base = (sums.value - scale * sums.code) / count;
    consider(values, half(static_cast<float>(scale)), half(static_cast<float>(base)), kTop, best);
  }
  return best;
}

void write_codes(Values values, const Fit& fit, float top, std::uint8_t* codes) {
  if (fit.scale == 0) {  // every code means the same; the middle one is zero by itself where there is no minimum
    std::fill_n(codes, values.size(), static_cast<std::uint8_t>((top + 1) / 2));
    return;
  }
  const float inverse = inverse_of(fit.scale);
  for (std::size_t i = 0; i < values.size(); ++i) {
    codes[i] = static_cast<std::uint8_t>(code_of(values[i], inverse, fit.base, top));
  }
}

void put_half(float value, std::byte* to) {
  const std::uint16_t bits = f16_from_f32(value);
  std::memcpy(to, &bits, sizeof(bits));
}

// Element i in the low nibble of byte i, element i + 16 in the high one.
void put_nibbles(const std::uint8_t* code, std::byte* to) {
  for (int i = 0; i < 16; ++i) to[i] = static_cast<std::byte>(code[i] | (code[i + 16] << 4));
}

void put_block(DType type, Values values, std::byte* to) {
  std::uint8_t codes[kBlock];
  if (type == DType::kQ8_0) {
    const Fit fit = fit_symmetric8(values, ScaleGrid::kF16);
    write_codes(values, fit, 255, codes);
    put_half(fit.scale, to);
    for (std::size_t i = 0; i < kBlock; ++i) to[2 + i] = static_cast<std::byte>(codes[i] ^ 0x80);
    return;
  }
  const bool has_minimum = type == DType::kQ4_1;
  const Fit fit = has_minimum ? fit_minimum4(values) : fit_symmetric4(values, true, ScaleGrid::kF16);
  write_codes(values, fit, 15, codes);
  put_half(fit.scale, to);
  if (has_minimum) put_half(fit.base, to + 2);
  put_nibbles(codes, to + (has_minimum ? 4 : 2));
}

}  // namespace

bool can_quantize(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16 || type == DType::kQ8_0 ||
         type == DType::kQ4_0 || type == DType::kQ4_1;
}

void quantize(DType type, const float* from, std::byte* to, std::size_t count) {
  CHECK(can_quantize(type)) << traits(type).name;
  const DTypeTraits& t = traits(type);
  CHECK(count % t.block_elements == 0) << count << " elements of " << t.name;
  if (type == DType::kF32) {
    std::memcpy(to, from, count * sizeof(float));
    return;
  }
  for (std::size_t i = 0; i < count; i += t.block_elements, to += t.block_bytes) {
    if (type == DType::kF16) {
      put_half(from[i], to);
    } else if (type == DType::kBF16) {
      const std::uint16_t bits = bf16_from_f32(from[i]);
      std::memcpy(to, &bits, sizeof(bits));
    } else {
      put_block(type, {from + i, kBlock}, to);
    }
  }
}

QuantizedGroup quantize_group(Values values, const GroupScheme& scheme, std::uint8_t* codes) {
  CHECK(scheme.bits == 4 || scheme.bits == 8) << scheme.bits << " bits";
  CHECK(!values.empty());
  Fit fit = scheme.bits == 4 ? fit_symmetric4(values, false, scheme.grid) : fit_symmetric8(values, scheme.grid);
  if (!scheme.is_symmetric) fit = fit_asymmetric(values, scheme.bits, scheme.grid, fit);
  const int middle = 1 << (scheme.bits - 1);
  write_codes(values, fit, static_cast<float>(2 * middle - 1), codes);
  const int zero = fit.scale == 0 ? middle : static_cast<int>(std::lround(-fit.base / fit.scale));
  return {fit.scale, zero};
}

}  // namespace autoglm::kernels

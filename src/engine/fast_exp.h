// SPDX-License-Identifier: Apache-2.0
// exp() of a whole row for the sampler: a loop without calls or branches, which the compiler turns into vector code.
#pragma once

#include <bit>
#include <cstdint>

namespace autoglm::engine {

/// e^x for x <= 0 within 3e-7 of its value; 0 below -80. Elementwise, so a value never depends on its neighbours.
///   Source   range reduction by Cody and Waite 1980; polynomial: Taylor terms of e^r for |r| <= ln(2) / 2 up to r^7
inline float exp_nonpositive(float x) {
  const float clamped = x < -80.0f ? -80.0f : x;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float n = (clamped * 1.44269504f + kRound) - kRound;
  const float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
  float sum = 1.0f / 5040;
  sum = sum * r + 1.0f / 720;
  sum = sum * r + 1.0f / 120;
  sum = sum * r + 1.0f / 24;
  sum = sum * r + 1.0f / 6;
  sum = sum * r + 0.5f;
  sum = sum * r + 1.0f;
  sum = sum * r + 1.0f;
  const auto exponent = static_cast<std::uint32_t>(static_cast<std::int32_t>(n) + 127) << 23;
  const float value = sum * std::bit_cast<float>(exponent);
  return x < -80.0f ? 0.0f : value;
}

}  // namespace autoglm::engine

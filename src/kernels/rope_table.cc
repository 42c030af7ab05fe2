// SPDX-License-Identifier: Apache-2.0
#include "kernels/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace autoglm::kernels {
namespace {

double llama3_frequency(const Llama3Scaling& scaling, double frequency) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < scaling.original_context / scaling.high_frequency_factor) return frequency;
  if (wavelength > scaling.original_context / scaling.low_frequency_factor) return frequency / scaling.factor;
  const double kept = (scaling.original_context / wavelength - scaling.low_frequency_factor) /
                      (scaling.high_frequency_factor - scaling.low_frequency_factor);
  return (1 - kept) * frequency / scaling.factor + kept * frequency;
}

// The pair, perhaps between two, that turns so often in the original context.
double pair_of_turns(const RopeDescription& rope, double turns) {
  return static_cast<double>(rope.rotary_dim) * std::log(rope.yarn->original_context / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(rope.theta));
}

double yarn_frequency(const RopeDescription& rope, std::size_t pair, double frequency) {
  const YarnScaling& scaling = *rope.yarn;
  double first = pair_of_turns(rope, scaling.fast_turns);
  double last = pair_of_turns(rope, scaling.slow_turns);
  if (scaling.is_truncated) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, static_cast<double>(rope.rotary_dim - 1));
  constexpr double kLeastWidth = 0.001;  // of the blend
  const double place = (static_cast<double>(pair) - first) / std::max(last - first, kLeastWidth);
  const double stretched = std::clamp(place, 0.0, 1.0);
  return (1 - stretched) * frequency + stretched * frequency / scaling.factor;
}

// cos and sin of step * count angles: [count, frequencies].
struct Turns {
  std::vector<double> cos;
  std::vector<double> sin;

  Turns(const std::vector<double>& frequencies, std::size_t count, std::size_t step) {
    for (std::size_t i = 0; i < count; ++i) {
      for (const double frequency : frequencies) {
        const double angle = static_cast<double>(i * step) * frequency;
        cos.push_back(std::cos(angle));
        sin.push_back(std::sin(angle));
      }
    }
  }
};

constexpr std::size_t kStep = 256;

}  // namespace

std::vector<double> rope_frequencies(const RopeDescription& rope) {
  CHECK(rope.rotary_dim % 2 == 0) << "rotary_dim " << rope.rotary_dim;
  const std::size_t half = rope.rotary_dim / 2;
  CHECK(rope.frequency_divisors.empty() || rope.frequency_divisors.size() == half)
      << rope.frequency_divisors.size() << " frequency divisors for " << half << " pairs";
  std::vector<double> frequencies(half);
  for (std::size_t j = 0; j < half; ++j) {
    double frequency = std::pow(rope.theta, -2.0 * static_cast<double>(j) / static_cast<double>(rope.rotary_dim));
    if (rope.llama3) frequency = llama3_frequency(*rope.llama3, frequency);
    if (rope.yarn) frequency = yarn_frequency(rope, j, frequency);
    if (!rope.frequency_divisors.empty()) frequency /= static_cast<double>(rope.frequency_divisors[j]);
    frequencies[j] = frequency / rope.linear_factor;
  }
  return frequencies;
}

void mean_rotation(const RopeDescription& rope, std::size_t positions, std::span<float> head) {
  CHECK(positions > 0 && head.size() >= rope.rotary_dim) << head.size() << " of " << rope.rotary_dim;
  const std::vector<double> frequencies = rope_frequencies(rope);
  const auto count = static_cast<double>(positions);
  const std::size_t half = frequencies.size();
  for (std::size_t j = 0; j < half; ++j) {
    // The sum of e^(i t f) over t is a geometric series: e^(i (n - 1) f / 2) sin(n f / 2) / sin(f / 2).
    const double f = frequencies[j];
    const double unit = std::sin(f / 2);
    const double length = unit == 0 ? 1 : std::sin(count * f / 2) / (count * unit);
    const double x = std::cos((count - 1) * f / 2) * length * rope.attention_factor;
    const double y = std::sin((count - 1) * f / 2) * length * rope.attention_factor;
    float& a = rope.style == RopeStyle::kHalves ? head[j] : head[2 * j];
    float& b = rope.style == RopeStyle::kHalves ? head[j + half] : head[2 * j + 1];
    const double turned = a * x - b * y;
    b = static_cast<float>(b * x + a * y);
    a = static_cast<float>(turned);
  }
}

double longrope_attention_factor(double stretched, std::size_t original_context) {
  if (stretched <= 1) return 1;
  return std::sqrt(1 + std::log(stretched) / std::log(static_cast<double>(original_context)));
}

double yarn_attention_factor(double factor, double scale) {
  return factor <= 1 ? 1 : 0.1 * scale * std::log(factor) + 1;
}

RopeDescription short_rope(const RopeDescription& rope) {
  RopeDescription result = rope;
  result.long_divisors.clear();
  if (!rope.long_divisors.empty()) result.positions = std::min(rope.positions, rope.short_positions);
  return result;
}

RopeDescription long_rope(const RopeDescription& rope) {
  RopeDescription result = rope;
  result.frequency_divisors = std::exchange(result.long_divisors, {});
  return result;
}

std::size_t rope_bytes(std::size_t positions, std::size_t rotary_dim) { return positions * rotary_dim * sizeof(float); }

Rope::Rope(const RopeDescription& description) : memory_(rope_bytes(description.positions, description.rotary_dim)) {
  const std::vector<double> frequencies = rope_frequencies(description);
  const std::size_t half = frequencies.size();
  auto* cos = reinterpret_cast<float*>(memory_.data());
  float* sin = cos + description.positions * half;
  // A position is a multiple of kStep and a rest; the angles add up. Two short tables of cos and sin replace a call for
  // every entry (a context of 32768 and 128 pairs: 0.2 s), and f64 leaves 2^-52 of error where f32 rounds at 2^-25.
  const Turns rest(frequencies, std::min(description.positions, kStep), 1);
  const Turns whole(frequencies, (description.positions + kStep - 1) / kStep, kStep);
  const double factor = description.attention_factor;
  for (std::size_t position = 0; position < description.positions; ++position) {
    const std::size_t a = position / kStep * half;
    const std::size_t b = position % kStep * half;
    for (std::size_t j = 0; j < half; ++j) {
      const double x = whole.cos[a + j] * rest.cos[b + j] - whole.sin[a + j] * rest.sin[b + j];
      const double y = whole.sin[a + j] * rest.cos[b + j] + whole.cos[a + j] * rest.sin[b + j];
      cos[position * half + j] = static_cast<float>(x * factor);
      sin[position * half + j] = static_cast<float>(y * factor);
    }
  }
  table_ = {.positions = description.positions,
            .rotary_dim = description.rotary_dim,
            .style = description.style,
            .cos = cos,
            .sin = sin};
}

}  // namespace autoglm::kernels

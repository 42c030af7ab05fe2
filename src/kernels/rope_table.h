// SPDX-License-Identifier: Apache-2.0
// The cos and sin of every position, computed once at load from what a checkpoint says of its rope. Angles are computed
// in f64 and rounded once to f32. Any thread; immutable once made.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "kernels/ops.h"
#include "kernels/tensor.h"

namespace autoglm::kernels {

// Llama 3's scaling ("rope_type": "llama3"): long wavelengths are stretched by `factor`, short ones kept, those between
// blended.
struct Llama3Scaling {
  double factor = 8;
  double low_frequency_factor = 1;
  double high_frequency_factor = 4;
  double original_context = 8192;
};

// YaRN ("rope_type": "yarn"): pairs that turn more than `fast_turns` times in the original context are kept, those that
// turn less than `slow_turns` times are stretched by `factor`, those between blended.
struct YarnScaling {
  double factor = 1;
  double fast_turns = 32;  // "beta_fast"
  double slow_turns = 1;   // "beta_slow"
  double original_context = 8192;
  bool is_truncated = true;  // the bounds of the blend are whole pairs
};

struct RopeDescription {
  std::size_t positions = 0;
  std::size_t rotary_dim = 0;  // even
  RopeStyle style = RopeStyle::kHalves;
  double theta = 10000;
  double linear_factor = 1;  // positions are divided by it
  std::optional<Llama3Scaling> llama3;
  std::optional<YarnScaling> yarn;
  std::vector<float> frequency_divisors;  // [rotary_dim / 2] as in GGUF's rope_freqs, or empty
  double attention_factor = 1;            // multiplies cos and sin
  // Longrope: the divisors of sequences that are, or may grow, longer than `short_positions`; empty = all are alike.
  std::vector<float> long_divisors;
  std::size_t short_positions = 0;
};

/// Radians that pair j turns per position: theta^(-2j / rotary_dim), scaled as described.
///   Source   Su et al. 2021, arXiv:2104.09864; linear: Chen et al. 2023, arXiv:2306.15595; llama3: the `rope_scaling`
///            of the published Llama 3.1 configurations; longrope: Ding et al. 2024, arXiv:2402.13753; YaRN: Peng et
///            al. 2023, arXiv:2309.00071, with bounds as transformers' modeling_rope_utils.py has them
std::vector<double> rope_frequencies(const RopeDescription& rope);

/// What a head that is the same at every position becomes on average over positions 0 .. positions - 1, in place. What
/// turns slowly stays, what turns often is gone. `head` has at least rotary_dim elements; the others stay.
void mean_rotation(const RopeDescription& rope, std::size_t positions, std::span<float> head);

/// What a longrope multiplies cos and sin by when the context is `stretched` times as long as the original one.
double longrope_attention_factor(double stretched, std::size_t original_context);

/// What a YaRN rope multiplies cos and sin by when its context is `factor` times as long as the original one; `scale`
/// of the logarithm (1; DeepSeek's "mscale").
double yarn_attention_factor(double factor, double scale = 1);

/// What the short and the long sequences of a longrope turn by: `rope` without the other ones' divisors, and with room
/// for their positions only.
RopeDescription short_rope(const RopeDescription& rope);
RopeDescription long_rope(const RopeDescription& rope);

/// Bytes that a Rope of this shape holds: what a loader should check before it makes one from untrusted figures.
std::size_t rope_bytes(std::size_t positions, std::size_t rotary_dim);

// Owns the memory of one RopeTable.
class Rope final {
 public:
  explicit Rope(const RopeDescription& description);
  const RopeTable& table() const { return table_; }

 private:
  Buffer memory_;
  RopeTable table_;
};

}  // namespace autoglm::kernels

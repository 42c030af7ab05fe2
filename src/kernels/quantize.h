// SPDX-License-Identifier: Apache-2.0
// The way back from f32 to stored weights: blocks of a type, or the codes of a group with its scale. Deterministic and
// scalar: it runs once for a model, when `quantize` writes one. Values must be finite and within +-kLargestF16.
// Any thread. What comes out is judged by dequantize().
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/dtype.h"

namespace autoglm::kernels {

/// Whether quantize() writes this type: F32, F16, BF16, Q8_0, Q4_0, Q4_1.
bool can_quantize(DType type);

/// Writes `count` values (a multiple of the block) as blocks of `type`.
///   Q8_0     the scale is max|x| / 127 rounded up to f16: no value is off by more than half a scale
///   Q4_0     of scales of either sign from max|x| / 7 to max|x| / 9, the one with the least squared error
///   Q4_1     scale and minimum with the least squared error; never worse than Q4_0
void quantize(DType type, const float* from, std::byte* to, std::size_t count);

// What a scale may be: any f16, or any number that is both bf16 and f16.
enum class ScaleGrid : std::uint8_t { kF16, kBF16 };

struct GroupScheme {
  int bits = 8;  // 4 or 8
  bool is_symmetric = true;
  ScaleGrid grid = ScaleGrid::kF16;
};

// value = scale * (code - zero), codes unsigned of `bits`. A symmetric group has zero = 2^(bits - 1).
struct QuantizedGroup {
  float scale = 0;  // >= 0
  int zero = 0;
};

/// Codes of one group of any size, a byte each.
///   8 bits   max|x| / 127, or for asymmetric the range with 0 in it over 255, rounded up to the grid
///   4 bits   the scale (and zero) with the least squared error among a few
/// An asymmetric group is never worse by squared error than a symmetric one.
QuantizedGroup quantize_group(std::span<const float> values, const GroupScheme& scheme, std::uint8_t* codes);

}  // namespace autoglm::kernels

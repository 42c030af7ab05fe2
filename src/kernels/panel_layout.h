// SPDX-License-Identifier: Apache-2.0
// The packed form of a linear layer's weights: panels of 16 output rows, k innermost by quads, so that one 64-byte load
// is 16 rows x 4 consecutive k and one dot instruction takes four products of 16 rows at once. One layout serves every
// instruction set. Weights stay near their stored size: codes are never widened.
//
// A quantised panel: a scale area, then a code area.
//   scale area, per block of 32 or 256 (BlockShape::elements):
//       d[16] f16, (dmin[16] f16,) and for 256-element blocks scale[groups][16] s8, (min[groups][16] s8)
//       dmin of Q4_1 and Q5_1 is added, dmin * min of the K types is taken off, as stored
//   code area, per 32 k (8 quads of 4 k; "line" = 64 bytes = [16 rows][4 k]):
//       8 bits  line i = quad i
//       4 bits  line i = quad 2i in low, quad 2i + 1 in high nibbles          (4 lines)
//       5 bits  as 4, and one line whose bit i is the fifth bit of quad i
//       6 bits  as 4, and two lines: bits 2i, 2i + 1 of line j = upper bits of quad 4j + i
//       2 bits  two lines: bits 2i, 2i + 1 of line j = quad 4j + i
//       3 bits  as 2, and one line whose bit i is the third bit of quad i
// A dense panel: F32 and F16 [k][16], BF16 [k / 2][16][2] (a last odd k is paired with zero).
// Rows beyond out_features are zero.
#pragma once

#include <cstddef>

#include "kernels/quant_blocks.h"

namespace autoglm::kernels {

inline constexpr std::size_t kPanelRows = 16;
/// The panels of a layer are filled up with empty ones to a multiple of this, so that kernels can take groups and need
/// no code for a rest.
inline constexpr std::size_t kPanelGroup = 4;

/// Bytes of one block's part of the scale area.
consteval std::size_t panel_scale_bytes(DType type) {
  const BlockShape shape = block_shape(type);
  const std::size_t factors = shape.has_min ? 2 : 1;
  const std::size_t groups = shape.has_scales ? static_cast<std::size_t>(shape.elements / shape.group) : 0;
  return factors * kPanelRows * (2 + groups);
}

/// Bytes of one 32-k part of the code area.
consteval std::size_t panel_code_bytes(DType type) {
  return static_cast<std::size_t>(block_shape(type).bits) * 4 * kPanelRows;
}

}  // namespace autoglm::kernels

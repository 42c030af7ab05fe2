// SPDX-License-Identifier: Apache-2.0
// Fills the table of row_table.h from the algorithms over a vector type V. Each of scalar/, avx2/ and avx512/ includes
// it in one unit and adds its own quantize().
#pragma once

#include "kernels/attention_algorithm.h"
#include "kernels/row_algorithms.h"
#include "kernels/row_table.h"

namespace autoglm::kernels {

template <typename V>
constexpr RowTable row_functions(void (*quantize)(const float*, std::size_t, std::int8_t*, float*, float*)) {
  return {.quantize = quantize,
          .round_bf16 = round_bf16<V>,
          .round_f16 = round_f16<V>,
          .rms_norm = rms_norm<V>,
          .layer_norm = layer_norm<V>,
          .silu_gate = silu_gate<V>,
          .gelu_gate = gelu_gate<V>,
          .gelu = gelu_row<V>,
          .add = add<V>,
          .add_norm = add_norm<V>,
          .multiply = multiply<V>,
          .softcap = softcap<V>,
          .rotate_halves = rotate_halves<V>,
          .rotate_pairs = rotate_pairs<V>,
          .attend_f16 = attend<V, std::uint16_t>,
          .attend_f32 = attend<V, float>,
          .attend_int8 = attend_int8<V>,
          .quantize_head = quantize_head<V>,
          .spread = spread<V>,
          .clear = clear<V>,
          .merge = merge<V>,
          .finish = finish<V>,
          .exponential = exponential<V>};
}

}  // namespace autoglm::kernels

// SPDX-License-Identifier: Apache-2.0
// What an arena gives for what a step takes from it: how the scratch of a model is sized. Pure functions.
#pragma once

#include <cstddef>

namespace autoglm::model {

// It aligns to 64.
inline std::size_t taken(std::size_t bytes) { return (bytes + 63) & ~std::size_t{63}; }
inline std::size_t taken_f32(std::size_t rows, std::size_t columns) { return taken(rows * columns * sizeof(float)); }

// Rows prepared for linear layers in every form at once: f32, int8 with scale and sum a block of 32, bf16.
inline std::size_t taken_prepared(std::size_t rows, std::size_t columns) {
  const std::size_t elements = rows * columns;
  return taken_f32(rows, columns) + taken(elements) + 2 * taken((elements / 32 + rows) * sizeof(float)) +
         taken(elements * 2);
}

}  // namespace autoglm::model

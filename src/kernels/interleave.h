// SPDX-License-Identifier: Apache-2.0
// Interleaves activation rows into the tiles that linear kernels read (ActivationTile). Compiled for the floor, with
// SSE for what it moves most. Kernel threads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear_kernels.h"
#include "kernels/ops.h"

namespace autoglm::kernels {

// Where the parts of one form's tiles lie. Every tile of a strip has the same size.
struct TileLayout {
  TileForm form = TileForm::kQ8;
  std::size_t width = 0;
  std::size_t in_features = 0;
  bool sum32 = false;  // which of the integer sums are wanted
  bool sum16 = false;

  std::size_t words() const {  // of a row
    if (form == TileForm::kQ8) return in_features / 4;
    return form == TileForm::kBf16 ? (in_features + 1) / 2 : in_features;
  }
  std::size_t blocks() const { return in_features / 32; }
  std::size_t bytes() const;  // of a tile, a multiple of 64
  /// The parts of the tile at `memory`, as yet unfilled.
  ActivationTile at(std::byte* memory, std::size_t columns) const;
};

/// Fills the tile at `memory` from rows [first, first + columns) of `in`; columns beyond them, up to the width, with
/// zeros.
ActivationTile interleave(const TileLayout& layout, const Activations& in, std::size_t first, std::size_t columns,
                          std::byte* memory);

/// A tile of width 1 that reads row 0 of `in` in place; only the integer sums are computed, into `memory`.
ActivationTile single_row(const TileLayout& layout, const Activations& in, std::byte* memory);

}  // namespace autoglm::kernels

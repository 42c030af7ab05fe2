// SPDX-License-Identifier: Apache-2.0
// What an instruction set provides for linear layers: one function per weight type and tile width, over panels of 16
// output rows (kernels/panels.h) and a tile of activation rows interleaved as the kernels read them. Only plain
// pointers cross this line, so that the units compiled for more than the floor instantiate nothing shared. Called by
// kernel threads; the functions keep no state.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/dtype.h"

namespace autoglm::kernels {

// How a kernel reads activations. One word = 4 bytes: 4 q8, 2 bf16 or 1 f32.
enum class TileForm : std::uint8_t { kQ8, kBf16, kF32 };

// Up to `width` rows of activations ("columns" of the tile), interleaved by width. Columns beyond the real ones are
// zero.
struct ActivationTile {
  const void* words = nullptr;          // [words of a row, width] 4 bytes each
  const float* scale = nullptr;         // [in_features / 32, width]; kQ8 only, like all below
  const float* sum = nullptr;           // [in_features / 32, width]: scale * sum of the block's q8
  const std::int32_t* sum32 = nullptr;  // [in_features / 32, width]: minus the sum of 32 q8
  const std::int32_t* sum16 = nullptr;  // [in_features / 16, width]: minus the sum of 16 q8
  int columns = 0;                      // real ones, <= width
};

struct LinearCall {
  ActivationTile x;
  const std::byte* panels = nullptr;  // the first panel of the layer
  std::size_t panel_bytes = 0;
  std::size_t scale_area = 0;
  std::size_t in_features = 0;
  std::size_t out_features = 0;
  float* out = nullptr;         // column n, row r of the layer at out[n * out_stride + r]
  std::size_t out_stride = 0;   // floats
  const float* bias = nullptr;  // [out_features] or null
  bool accumulate = false;
  bool stream = false;  // the weights come from memory, not from a cache: ask for them ahead
};

/// Computes panels [first, end), multiples of kPanelGroup, of the call's tile. With s, m, q of the weights and per
/// block of 32 k in rising order:
///   kQ8   for each group of 16 or 32: acc = fma(s * (integer dot of (q - zero) and q8), scale_x, acc);
///         with a minimum for 32: acc = fma(-m, sum_x, acc); for 16: acc = fma(m * -(sum of q8), scale_x, acc)
///   kF32  acc = fma(w, x, acc) for each k
///   kBf16 acc = the processor's dot of bf16 pairs, for each pair of k
/// then acc + bias, then out + acc. The same for every width: that makes a row's result independent of its company.
using LinearFunction = void (*)(const LinearCall& call, std::size_t first_panel, std::size_t end_panel);

// The kernels of one weight type, by index of the tile's width.
struct LinearTypeKernels {
  LinearFunction fast[6];
  LinearFunction exact[6];
};

// A constant of an instruction set: made at compile time, so that no code of it exists.
struct LinearKernels {
  int width_count;
  int widths[6];       // rising
  TileForm bf16_form;  // of BF16 weights in fast mode
  const LinearTypeKernels* types[kDTypeCount];
};

const LinearKernels& scalar_linear_kernels();
const LinearKernels& avx2_linear_kernels();
/// With `bf16`, BF16 weights use vdpbf16ps (CpuFeatures::avx512_bf16).
const LinearKernels& avx512_linear_kernels(bool bf16);

}  // namespace autoglm::kernels

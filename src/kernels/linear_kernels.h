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
  // Weights that come from memory and not from a cache are asked for ahead: of the lines or parts of 32 k those with
  // index % ahead_period == ahead_phase. 0 = nothing is asked for. Where several tiles take a group of panels in turn
  // they share what is to be asked for, `ahead_bytes` ahead: the next group.
  std::size_t ahead_period = 0;
  std::size_t ahead_phase = 0;
  std::size_t ahead_bytes = 0;
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
  LinearFunction fast[8];
  LinearFunction exact[8];
};

// A constant of an instruction set: made at compile time, so that no code of it exists.
struct LinearKernels {
  int width_count;
  int widths[8];       // rising
  int many_width = 0;  // the most of one among several tiles; wider ones are for a single tile. 0 = the widest
  // The same of int8 activations, where they differ: by these go the `fast` functions of quantised types.
  int q8_width_count = 0;
  int q8_widths[8] = {};
  int q8_many_width = 0;
  TileForm bf16_form;  // of BF16 weights in fast mode
  const LinearTypeKernels* types[kDTypeCount];
};

const LinearKernels& scalar_linear_kernels();
const LinearKernels& avx2_linear_kernels();
/// With `bf16`, BF16 weights use vdpbf16ps (CpuFeatures::avx512_bf16).
const LinearKernels& avx512_linear_kernels(bool bf16);

}  // namespace autoglm::kernels

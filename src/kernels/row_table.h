// SPDX-License-Identifier: Apache-2.0
// What an instruction set provides to row_kernels.cc: plain functions over one row, one head or one attention tile.
// Only plain pointers cross this line, so that the units compiled for more than the floor instantiate nothing shared.
// Called by kernel threads; the functions keep no state.
#pragma once

#include <cstddef>
#include <cstdint>

namespace autoglm::kernels {

// The tokens of a KV block (KvLayer::kBlockTokens) and the longest run of blocks that one softmax state covers. A
// context is cut into segments at fixed absolute positions, and their states are merged in rising order, so that a
// segment can be computed by any thread without changing a bit.
inline constexpr std::size_t kTileTokens = 32;
inline constexpr std::size_t kSegmentBlocks = 8;
// Queries (rows x heads of one KV head) that share a pass over a block.
inline constexpr std::size_t kTileQueries = 36;
// Floats from one query of a tile to the next: a constant, so that the inner loop addresses all of them from one
// register; room for KvLayer::kMaxHeadDim, and not a multiple of 4 KiB / 8, so that they do not share sets of the L1
// cache.
inline constexpr std::size_t kQueryStride = 528;
// Partial sums kept per query: the lanes of the widest instruction set.
inline constexpr std::size_t kMaxLanes = 16;

// Online softmax of a tile, per query: sum over tokens of exp(score - largest) * value, and of exp(score - largest).
struct AttentionState {
  float* values;  // [queries, value_stride]; value_stride a multiple of kMaxLanes, >= head_dim
  std::size_t value_stride;
  float* largest;  // [queries]; -infinity: no token yet
  float* total;    // [queries, kMaxLanes], one partial sum per lane
};

// Codes of an int8 cache and what they are multiplied by, in pairs that one instruction multiplies and adds.
struct Int8Pair {
  std::int8_t first;
  std::int8_t second;
};
struct Int16Pair {
  std::int16_t first;
  std::int16_t second;
};

// The queries of `rows` successive tokens for `group` heads of one KV head, against blocks [first_block, end_block) of
// one segment.
struct AttentionTile {
  const float* query;            // [rows * group, head_dim], kQueryStride apart; not for int8
  const Int16Pair* query_codes;  // int8: [rows * group, (head_dim + 1) / 2], kQueryStride apart; query = code * scale
  const float* query_scales;     // int8: [rows * group]
  std::size_t rows;
  std::size_t group;
  std::size_t head_dim;
  std::size_t first_position;  // of the last token that row 0 sees
  std::size_t position_step;   // from a row to the next: 1, or 0 where all rows see the same
  std::size_t window;          // 0 = all earlier positions
  std::size_t first_block;
  std::size_t end_block;
  const std::uint32_t* block_table;
  const std::byte* keys;     // of this KV head in block 0, as KvLayer says
  const std::byte* values;   // the same
  std::size_t block_bytes;   // from one block to the next
  std::size_t scale_offset;  // int8: from a block's codes to its scales
  float scale;
  float softcap;            // 0 = none
  float* weights;           // scratch [kTileQueries, kTileTokens]
  Int16Pair* weight_codes;  // int8: scratch [kTileQueries, kTileTokens / 2]
  float* weight_scales;     // int8: scratch [kTileQueries]
  AttentionState state;     // overwritten
};

struct RowTable {
  // Blocks of 32 columns: scale = max|x| / 127, q8 = round_to_even(x / scale), sum = scale * (sum of q8). A block below
  // 2^-100 in magnitude is zero. A block with a NaN or an infinity gets scale and sum NaN and q8 zero.
  void (*quantize)(const float* x, std::size_t columns, std::int8_t* q8, float* scale, float* sum);
  void (*round_bf16)(const float* x, std::size_t columns, std::uint16_t* out);
  void (*round_f16)(const float* x, std::size_t columns, std::uint16_t* out);
  // out = x / sqrt(mean(x^2) + eps) * weight; out may be x.
  void (*rms_norm)(const float* x, const float* weight, float eps, std::size_t columns, float* out);
  // out = (x - mean) / sqrt(variance + eps) * weight + bias; out may be x.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, std::size_t columns,
                     float* out);
  void (*silu_gate)(const float* gate, const float* up, std::size_t columns, float* out);
  void (*gelu_gate)(const float* gate, const float* up, std::size_t columns, float* out);
  void (*gelu)(const float* x, std::size_t columns, float* out);
  void (*add)(float* x, const float* y, std::size_t columns);
  void (*add_norm)(float* x, const float* y, const float* weight, float eps, std::size_t columns);
  void (*multiply)(float* x, float factor, std::size_t columns);
  void (*softcap)(float* x, float cap, std::size_t columns);
  void (*rotate_halves)(float* x, const float* cos, const float* sin, std::size_t half);
  void (*rotate_pairs)(float* x, const float* cos, const float* sin, std::size_t half);
  void (*attend_f16)(const AttentionTile& tile);
  void (*attend_f32)(const AttentionTile& tile);
  void (*attend_int8)(const AttentionTile& tile);
  // codes = round_to_even(x / scale) with scale = max|x| / largest_code, returned; largest_code <= 32767. Below 2^-100
  // in magnitude all is zero. With a NaN or an infinity among x the scale is NaN.
  float (*quantize_head)(const float* x, std::size_t columns, float largest_code, std::int16_t* codes);
  // Walsh-Hadamard transform in place of successive runs of the largest power of two that divides `columns`, times
  // `factor`. Source: Fino and Algazi 1976, IEEE Trans. Computers C-25 (the fast form).
  void (*spread)(float* x, std::size_t columns, float factor);
  // Clears `queries` states; joins `later` into `earlier`; writes values / total to out [queries, head_dim].
  void (*clear)(const AttentionState& state, std::size_t queries);
  void (*merge)(const AttentionState& earlier, const AttentionState& later, std::size_t queries);
  void (*finish)(const AttentionState& state, std::size_t queries, std::size_t head_dim, float* out);
  // out = exp(x), the exponential of everything above; for tests.
  void (*exponential)(const float* x, std::size_t columns, float* out);
};

const RowTable& scalar_row_table();
const RowTable& avx2_row_table();
const RowTable& avx512_row_table();

}  // namespace autoglm::kernels

// SPDX-License-Identifier: Apache-2.0
// Queries and keys take their positions, keys and values move into the paged cache. Keys lie transposed in their block,
// so that runs of tokens are written together.
#include <algorithm>
#include <cstring>

#include "kernels/row_kernels.h"
#include "kernels/row_split.h"
#include "kernels/row_table.h"

namespace autoglm::kernels {
namespace {

constexpr std::size_t kBlock = KvLayer::kBlockTokens;
constexpr std::size_t kRun = 8;  // tokens of one block that one piece of work writes

// Twice the transform of spread() multiplies by the size of its runs; queries take that back.
float unspread(std::size_t head_dim) { return 1.0f / static_cast<float>(head_dim & (~head_dim + 1)); }

// Norms (when asked) and rotates one head in place.
void rotate_head(const RowTable& table, const RotateStore& job, const RopeTable& rope, float* head, const float* norm,
                 std::size_t position) {
  if (norm != nullptr) table.rms_norm(head, norm, job.norm_eps, job.kv.head_dim, head);
  const std::size_t half = rope.rotary_dim / 2;
  const auto rotate = rope.style == RopeStyle::kHalves ? table.rotate_halves : table.rotate_pairs;
  rotate(head, rope.cos + position * half, rope.sin + position * half, half);
}

// Writes `tokens` keys, [tokens, head_dim] in `from`, as columns slot .. slot + tokens of a transposed block.
template <typename Element>
void store_columns(const Element* from, std::size_t tokens, std::size_t head_dim, Element* block, std::size_t slot) {
  for (std::size_t d = 0; d < head_dim; ++d) {
    Element* to = block + d * kBlock + slot;
    for (std::size_t t = 0; t < tokens; ++t) to[t] = from[t * head_dim + d];
  }
}

// The same for an int8 block, and the scales behind its codes. `keys` becomes scratch.
void store_int8(const RowTable& table, const RotateStore& job, std::size_t row, float* keys, std::size_t tokens,
                std::size_t head, std::size_t offset, std::size_t slot) {
  constexpr float kLargestCode = 127;
  const KvLayer& kv = job.kv;
  const std::size_t dim = kv.head_dim;
  auto* key_codes = reinterpret_cast<std::int8_t*>(kv.keys + offset);
  auto* value_codes = reinterpret_cast<std::int8_t*>(kv.values + offset);
  auto* key_scales = reinterpret_cast<float*>(kv.keys + offset + kv.scale_offset());
  auto* value_scales = reinterpret_cast<float*>(kv.values + offset + kv.scale_offset());
  std::int16_t codes[KvLayer::kMaxHeadDim];
  for (std::size_t t = 0; t < tokens; ++t) {
    const std::size_t token = slot + t;
    if (job.key_shift != nullptr) {
      for (std::size_t d = 0; d < dim; ++d) keys[t * dim + d] -= job.key_shift[head * dim + d];
    }
    table.spread(keys + t * dim, dim, 1.0f);
    key_scales[token] = table.quantize_head(keys + t * dim, dim, kLargestCode, codes);
    for (std::size_t d = 0; d < dim; ++d) {
      key_codes[d / 2 * 2 * kBlock + 2 * token + d % 2] = static_cast<std::int8_t>(codes[d]);
    }
    value_scales[token] = table.quantize_head(job.value.f32(row + t) + head * dim, dim, kLargestCode, codes);
    for (std::size_t d = 0; d < dim; ++d) {
      value_codes[token / 2 * 2 * dim + 2 * d + token % 2] = static_cast<std::int8_t>(codes[d]);
    }
  }
}

// Keys and values of KV head `head` of `tokens` rows that lie in one block.
void store_head(const RowTable& table, const RotateStore& job, const RopeTable& rope, std::size_t row,
                std::size_t position, std::size_t tokens, std::uint32_t block, std::size_t head) {
  const KvLayer& kv = job.kv;
  const std::size_t dim = kv.head_dim;
  const std::size_t slot = position % kBlock;
  const std::size_t offset = block * kv.block_stride() + head * kv.head_bytes();
  float keys[kRun * KvLayer::kMaxHeadDim];
  for (std::size_t t = 0; t < tokens; ++t) {
    std::memcpy(keys + t * dim, job.key.f32(row + t) + head * dim, dim * sizeof(float));
    rotate_head(table, job, rope, keys + t * dim, job.key_norm, position + t);
  }
  if (kv.type == KvType::kInt8) return store_int8(table, job, row, keys, tokens, head, offset, slot);
  if (kv.type == KvType::kF32) {
    store_columns(keys, tokens, dim, reinterpret_cast<float*>(kv.keys + offset), slot);
    for (std::size_t t = 0; t < tokens; ++t) {
      std::memcpy(kv.values + offset + (slot + t) * dim * sizeof(float), job.value.f32(row + t) + head * dim,
                  dim * sizeof(float));
    }
    return;
  }
  std::uint16_t halves[kRun * KvLayer::kMaxHeadDim];
  table.round_f16(keys, tokens * dim, halves);
  store_columns(halves, tokens, dim, reinterpret_cast<std::uint16_t*>(kv.keys + offset), slot);
  auto* values = reinterpret_cast<std::uint16_t*>(kv.values + offset);
  for (std::size_t t = 0; t < tokens; ++t) {
    table.round_f16(job.value.f32(row + t) + head * dim, dim, values + (slot + t) * dim);
  }
}

// Rows [first, first + kRun) by position of a sequence, cut so that they share a block.
void rotate_run(const RowTable& table, const RotateStore& job, const SequenceRows& sequence, std::size_t run) {
  const std::size_t aligned = sequence.first_position / kRun * kRun + run * kRun;
  const std::size_t begin = std::max(aligned, sequence.first_position);
  const std::size_t end = std::min(aligned + kRun, sequence.first_position + sequence.rows);
  const std::size_t row = sequence.first_row + begin - sequence.first_position;
  const RopeTable& rope = job.rope_of(sequence);
  for (std::size_t r = row; r < row + end - begin; ++r) {
    for (std::size_t head = 0; head < job.heads; ++head) {
      float* query = job.query.f32(r) + head * job.kv.head_dim;
      rotate_head(table, job, rope, query, job.query_norm, begin + r - row);
      if (job.kv.type == KvType::kInt8) table.spread(query, job.kv.head_dim, unspread(job.kv.head_dim));
    }
  }
  for (std::size_t head = 0; head < job.kv.kv_heads; ++head) {
    store_head(table, job, rope, row, begin, end - begin, sequence.block_table[begin / kBlock], head);
  }
}

std::size_t runs_of(const SequenceRows& sequence) {
  if (sequence.rows == 0) return 0;
  return (sequence.first_position + sequence.rows - 1) / kRun - sequence.first_position / kRun + 1;
}

void check_job(const RotateStore& job) {
  const KvLayer& kv = job.kv;
  CHECK(kv.head_dim >= 1 && kv.head_dim <= KvLayer::kMaxHeadDim) << "head_dim " << kv.head_dim;
  CHECK(job.query.columns == job.heads * kv.head_dim && job.key.columns == kv.kv_heads * kv.head_dim &&
        job.value.columns == job.key.columns)
      << "q " << job.query.columns << ", k " << job.key.columns << ", v " << job.value.columns << " columns";
  for (const SequenceRows& sequence : job.sequences) {
    CHECK(sequence.first_row + sequence.rows <= job.query.rows) << "rows beyond the batch";
    const RopeTable& rope = job.rope_of(sequence);
    CHECK(rope.rotary_dim % 2 == 0 && rope.rotary_dim <= kv.head_dim)
        << "rotary_dim " << rope.rotary_dim << " of head_dim " << kv.head_dim;
    CHECK(sequence.first_position + sequence.rows <= rope.positions)
        << "position " << sequence.first_position + sequence.rows << " of " << rope.positions;
  }
}

}  // namespace

void RowKernels::rotate_store(const RotateStore& job) const {
  check_job(job);
  const std::size_t work = (job.heads + 4 * job.kv.kv_heads) * job.kv.head_dim * kRun / 4;
  // One index per run of every sequence; found by walking the sequences, of which a batch has few.
  std::size_t runs = 0;
  for (const SequenceRows& sequence : job.sequences) runs += runs_of(sequence);
  split_rows(pool_, runs, work, [&](std::size_t index) {
    const SequenceRows* sequence = job.sequences.data();
    while (index >= runs_of(*sequence)) index -= runs_of(*sequence++);
    rotate_run(table_, job, *sequence, index);
  });
}

}  // namespace autoglm::kernels

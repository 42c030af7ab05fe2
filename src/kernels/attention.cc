// SPDX-License-Identifier: Apache-2.0
// Cuts attention into units - some successive rows of one sequence, for some heads of one KV head - and runs them over
// the pool. A unit walks the segments of its context in rising order and merges their states. When a batch has fewer
// units than the pool can share (one sequence, a long context), segments go to different threads, and the same merges
// follow in the same order: not a bit differs.
#include <algorithm>
#include <cstring>

#include "kernels/row_kernels.h"
#include "kernels/row_split.h"
#include "kernels/row_table.h"

namespace autoglm::kernels {
namespace {

static_assert(kTileTokens == KvLayer::kBlockTokens && kQueryStride >= KvLayer::kMaxHeadDim);

constexpr std::size_t kSegmentTokens = kSegmentBlocks * kTileTokens;
// Attention runs near the peak of multiply-adds, so a fork must bring more of them than for the other row operations.
constexpr std::size_t kForkAttention = 4 * kForkWork;
// Floats of the states that split segments leave for merging; a job that would need more is not split.
constexpr std::size_t kPartialFloats = std::size_t{1} << 20;

constexpr std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

constexpr std::size_t state_floats(std::size_t queries, std::size_t stride) {
  return queries * (stride + kMaxLanes) + round_up(queries, kMaxLanes);
}
constexpr std::size_t kMaxStateFloats = state_floats(kTileQueries, KvLayer::kMaxHeadDim);
// Of queries and weights: as they are, and as codes with a scale each.
constexpr std::size_t kTileFloats = kTileQueries * (kQueryStride + kTileTokens + kTileTokens / 2 + 2);
constexpr std::size_t kWorkerFloats = round_up(kTileFloats, kMaxLanes) + 2 * kMaxStateFloats;
static_assert(sizeof(Int16Pair) == sizeof(float));

// Scratch of one tile: queries, and a block's weights, of which int8 reads the codes.
struct TileMemory {
  float* query;
  Int16Pair* query_codes;
  float* query_scales;
  float* weights;
  Int16Pair* weight_codes;
  float* weight_scales;
};

TileMemory tile_memory(float* memory) {
  float* weights = memory + kTileQueries * kQueryStride;
  float* weight_codes = weights + kTileQueries * kTileTokens;
  float* scales = weight_codes + kTileQueries * kTileTokens / 2;
  return {.query = memory,
          .query_codes = reinterpret_cast<Int16Pair*>(memory),
          .query_scales = scales,
          .weights = weights,
          .weight_codes = reinterpret_cast<Int16Pair*>(weight_codes),
          .weight_scales = scales + kTileQueries};
}

AttentionState state_at(float* memory, std::size_t queries, std::size_t stride) {
  float* total = memory + queries * stride;
  return {.values = memory, .value_stride = stride, .largest = total + queries * kMaxLanes, .total = total};
}

AttentionState from_query(const AttentionState& state, std::size_t query) {
  return {.values = state.values + query * state.value_stride,
          .value_stride = state.value_stride,
          .largest = state.largest + query,
          .total = state.total + query * kMaxLanes};
}

// Sums of int8 codes times these must not overflow.
constexpr float kLargestQueryCode = 32767;
static_assert(127.0 * 32767 * KvLayer::kMaxHeadDim < 0x1p31);

// One piece of work: rows of a sequence x heads of a KV head.
struct Unit {
  const SequenceRows* sequence;
  std::size_t row;  // in the batch
  std::size_t rows;
  std::size_t first_position;  // of the last token that the first row sees
  std::size_t step;            // from a row to the next: 0 where all see the whole sequence
  std::size_t kv_head;
  std::size_t first_head;  // query head
  std::size_t heads;
  std::size_t first_segment;
  std::size_t end_segment;
};

// How a job is cut. Only speed depends on it.
class Plan {
 public:
  explicit Plan(const AttentionJob& job) : job_(job), group_(job.heads / job.kv.kv_heads) {
    heads_per_unit_ = std::min(group_, kTileQueries);
    head_pieces_ = (group_ + heads_per_unit_ - 1) / heads_per_unit_;
    rows_per_unit_ = kTileQueries / heads_per_unit_;
    for (const SequenceRows& sequence : job.sequences) {
      units_ += units_of(sequence);
      const std::size_t last = sequence.first_position + sequence.rows;
      const std::size_t seen = job.window == 0 ? last : std::min(last, job.window + sequence.rows);
      work_ += sequence.rows * seen * job.heads * job.kv.head_dim * 2;
      most_segments_ = std::max(most_segments_, seen / kSegmentTokens + 2);
    }
  }

  std::size_t units() const { return units_; }
  std::size_t work() const { return work_; }
  std::size_t most_segments() const { return most_segments_; }
  std::size_t queries_per_unit() const { return rows_per_unit_ * heads_per_unit_; }

  Unit unit(std::size_t index) const {
    const SequenceRows* sequence = job_.sequences.data();
    while (index >= units_of(*sequence)) index -= units_of(*sequence++);
    const std::size_t pieces = job_.kv.kv_heads * head_pieces_;
    const std::size_t tile = tiles_of(*sequence) - 1 - index / pieces;  // the longest contexts first
    const std::size_t piece = index % pieces;
    const std::size_t skipped = piece % head_pieces_ * heads_per_unit_;
    Unit unit{.sequence = sequence};
    unit.row = sequence->first_row + tile * rows_per_unit_;
    unit.rows = std::min(rows_per_unit_, sequence->rows - tile * rows_per_unit_);
    unit.step = job_.is_causal ? 1 : 0;
    unit.first_position = sequence->first_position + (job_.is_causal ? tile * rows_per_unit_ : sequence->rows - 1);
    unit.kv_head = piece / head_pieces_;
    unit.first_head = unit.kv_head * group_ + skipped;
    unit.heads = std::min(heads_per_unit_, group_ - skipped);
    unit.first_segment = oldest(unit) / kSegmentTokens;
    unit.end_segment = last_position(unit) / kSegmentTokens + 1;
    return unit;
  }

  // The last position that any row of the unit sees.
  static std::size_t last_position(const Unit& unit) { return unit.first_position + (unit.rows - 1) * unit.step; }

  // The first position that any row of the unit sees.
  std::size_t oldest(const Unit& unit) const {
    return job_.window != 0 && unit.first_position >= job_.window ? unit.first_position + 1 - job_.window : 0;
  }

 private:
  std::size_t tiles_of(const SequenceRows& sequence) const {
    return (sequence.rows + rows_per_unit_ - 1) / rows_per_unit_;
  }
  std::size_t units_of(const SequenceRows& sequence) const {
    return tiles_of(sequence) * job_.kv.kv_heads * head_pieces_;
  }

  const AttentionJob& job_;
  std::size_t group_;
  std::size_t heads_per_unit_;
  std::size_t head_pieces_;
  std::size_t rows_per_unit_;
  std::size_t units_ = 0;
  std::size_t work_ = 0;
  std::size_t most_segments_ = 0;
};

// Runs pieces of one job; `memory` is a worker's own kWorkerFloats.
class Runner {
 public:
  Runner(const RowTable& table, const AttentionJob& job, const Plan& plan)
      : table_(table), job_(job), plan_(plan), stride_(round_up(job.kv.head_dim, kMaxLanes)) {}

  std::size_t floats_of(std::size_t queries) const { return state_floats(queries, stride_); }
  AttentionState state(float* memory, const Unit& unit) const {
    return state_at(memory, unit.rows * unit.heads, stride_);
  }

  void run(const Unit& unit, float* memory) const {
    const AttentionState total = state(memory + kWorkerFloats - kMaxStateFloats, unit);
    const AttentionState part = state(memory + kWorkerFloats - 2 * kMaxStateFloats, unit);
    const TileMemory tile = tile_memory(memory);
    gather(unit, tile);
    attend(unit, unit.first_segment, tile, total);
    for (std::size_t segment = unit.first_segment + 1; segment < unit.end_segment; ++segment) {
      attend(unit, segment, tile, part);
      table_.merge(total, part, unit.rows * unit.heads);
    }
    finish(unit, total);
  }

  void run_segment(const Unit& unit, std::size_t segment, float* memory, const AttentionState& part) const {
    const TileMemory tile = tile_memory(memory);
    gather(unit, tile);
    attend(unit, segment, tile, part);
  }

  // Merges the states that run_segment() left one after the other from `parts` on.
  void merge(const Unit& unit, float* parts, std::size_t part_floats, float* memory) const {
    const AttentionState total = state(memory, unit);
    table_.clear(total, unit.rows * unit.heads);
    for (std::size_t segment = unit.first_segment; segment < unit.end_segment; ++segment, parts += part_floats) {
      table_.merge(total, state(parts, unit), unit.rows * unit.heads);
    }
    finish(unit, total);
  }

 private:
  // The unit's queries, kQueryStride apart, as the cache's type wants them.
  void gather(const Unit& unit, const TileMemory& memory) const {
    const std::size_t dim = job_.kv.head_dim;
    std::size_t query = 0;
    for (std::size_t row = unit.row; row < unit.row + unit.rows; ++row) {
      const float* from = job_.query.f32(row) + unit.first_head * dim;
      for (std::size_t head = 0; head < unit.heads; ++head, from += dim, ++query) {
        if (job_.kv.type != KvType::kInt8) {
          std::memcpy(memory.query + query * kQueryStride, from, dim * sizeof(float));
          continue;
        }
        auto* codes = reinterpret_cast<std::int16_t*>(memory.query_codes + query * kQueryStride);
        memory.query_scales[query] = table_.quantize_head(from, dim, kLargestQueryCode, codes);
        if (dim % 2 != 0) codes[dim] = 0;
      }
    }
  }

  void attend(const Unit& unit, std::size_t segment, const TileMemory& memory, const AttentionState& part) const {
    const KvLayer& kv = job_.kv;
    const std::size_t last = Plan::last_position(unit);
    const AttentionTile tile = {
        .query = memory.query,
        .query_codes = memory.query_codes,
        .query_scales = memory.query_scales,
        .rows = unit.rows,
        .group = unit.heads,
        .head_dim = kv.head_dim,
        .first_position = unit.first_position,
        .position_step = unit.step,
        .window = job_.window,
        .first_block = std::max(segment * kSegmentBlocks, plan_.oldest(unit) / kTileTokens),
        .end_block = std::min((segment + 1) * kSegmentBlocks, last / kTileTokens + 1),
        .block_table = unit.sequence->block_table,
        .keys = kv.keys + unit.kv_head * kv.head_bytes(),
        .values = kv.values + unit.kv_head * kv.head_bytes(),
        .block_bytes = kv.block_stride(),
        .scale_offset = kv.scale_offset(),
        .scale = job_.scale,
        .softcap = job_.softcap,
        .weights = memory.weights,
        .weight_codes = memory.weight_codes,
        .weight_scales = memory.weight_scales,
        .state = part,
    };
    switch (kv.type) {
      case KvType::kF32:
        return table_.attend_f32(tile);
      case KvType::kF16:
        return table_.attend_f16(tile);
      case KvType::kInt8:
        return table_.attend_int8(tile);
    }
  }

  void finish(const Unit& unit, const AttentionState& total) const {
    for (std::size_t row = 0; row < unit.rows; ++row) {
      float* out = job_.out.f32(unit.row + row) + unit.first_head * job_.kv.head_dim;
      table_.finish(from_query(total, row * unit.heads), unit.heads, job_.kv.head_dim, out);
    }
  }

  const RowTable& table_;
  const AttentionJob& job_;
  const Plan& plan_;
  std::size_t stride_;
};

void check_job(const AttentionJob& job) {
  const KvLayer& kv = job.kv;
  CHECK(kv.head_dim >= 1 && kv.head_dim <= KvLayer::kMaxHeadDim) << "head_dim " << kv.head_dim;
  CHECK(kv.kv_heads >= 1 && job.heads >= kv.kv_heads && job.heads % kv.kv_heads == 0)
      << job.heads << " heads on " << kv.kv_heads << " KV heads";
  CHECK(job.query.columns == job.heads * kv.head_dim && job.out.columns == job.query.columns &&
        job.out.rows == job.query.rows && job.out.data != job.query.data)
      << "query [" << job.query.rows << ", " << job.query.columns << "], out [" << job.out.rows << ", "
      << job.out.columns << "]";
  CHECK(job.is_causal || job.window == 0) << "a window of " << job.window << " in both directions";
  for (const SequenceRows& sequence : job.sequences) {
    CHECK(sequence.first_row + sequence.rows <= job.query.rows) << "rows beyond the batch";
    CHECK(job.is_causal || sequence.first_position == 0) << "all of a sequence is seen at once";
  }
}

}  // namespace

std::size_t attention_scratch_bytes(int threads) {
  return (static_cast<std::size_t>(threads) * kWorkerFloats + kPartialFloats) * sizeof(float);
}

void RowKernels::attention(const AttentionJob& job) const {
  check_job(job);
  const Plan plan(job);
  const Runner runner(table_, job, plan);
  auto* scratch = reinterpret_cast<float*>(scratch_.data());
  const auto threads = static_cast<std::size_t>(pool_.threads());
  if (threads == 1 || plan.work() < kForkAttention) {
    for (std::size_t index = 0; index < plan.units(); ++index) runner.run(plan.unit(index), scratch);
    return;
  }
  const std::size_t segments = plan.most_segments();
  const std::size_t part_floats = runner.floats_of(plan.queries_per_unit());
  float* parts = scratch + threads * kWorkerFloats;
  const bool split =
      plan.units() < 4 * threads && segments > 2 && plan.units() * segments * part_floats <= kPartialFloats;
  if (!split) {
    pool_.run(plan.units(), [&](std::size_t index, int worker) {
      runner.run(plan.unit(index), scratch + static_cast<std::size_t>(worker) * kWorkerFloats);
    });
    return;
  }
  const auto parts_of = [&](std::size_t index) { return parts + index * segments * part_floats; };
  pool_.run(plan.units() * segments, [&](std::size_t index, int worker) {
    const Unit unit = plan.unit(index / segments);
    const std::size_t segment = unit.first_segment + index % segments;
    if (segment >= unit.end_segment) return;
    float* part = parts_of(index / segments) + index % segments * part_floats;
    runner.run_segment(unit, segment, scratch + static_cast<std::size_t>(worker) * kWorkerFloats,
                       runner.state(part, unit));
  });
  for (std::size_t index = 0; index < plan.units(); ++index) {
    runner.merge(plan.unit(index), parts_of(index), part_floats, scratch);
  }
}

}  // namespace autoglm::kernels

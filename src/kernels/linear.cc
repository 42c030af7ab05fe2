// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear.h"

#include <algorithm>

namespace autoglm::kernels {
namespace {

// Rows whose tiles are in memory at a time. With more the tiles crowd out the weights, with fewer the weights are read
// too often. A multiple of every widest tile that holds a chunk of 512 rows.
constexpr std::size_t kStripRows = 528;
// Weights that a task walks through once for each tile: they should stay in a part of a 1 MiB second-level cache.
constexpr std::size_t kChunkBytes = std::size_t{256} << 10;
// Tiles and panels that stay in that cache together: all tiles then take each group of panels in turn, while the next
// streams in. Else the tiles are read again for each chunk of weights.
constexpr std::size_t kFewTileBytes = std::size_t{512} << 10;
constexpr std::size_t kFewPanelBytes = std::size_t{192} << 10;
constexpr std::size_t kMostPanelBytes = std::size_t{320} << 10;
// Tasks per thread and op: enough to even out, few enough that handing out costs nothing.
constexpr std::size_t kTasksPerThread = 4;
// A strip whose tiles are smaller than this is interleaved faster by one thread than by a fork-join.
constexpr std::size_t kForkBytes = std::size_t{64} << 10;
constexpr std::size_t kMaxJobs = 8;

std::size_t ceil_div(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

const LinearKernels& kernels_of(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return scalar_linear_kernels();
    case Isa::kAvx2:
      return avx2_linear_kernels();
    case Isa::kAvx512:
      return avx512_linear_kernels(cpu_features().avx512_bf16);
  }
  return scalar_linear_kernels();
}

const Panels& panels_of(const LinearJob& job) { return static_cast<const Panels&>(*job.weights); }

struct Sums {
  bool sum32 = false;
  bool sum16 = false;
};

// Which integer sums of q8 the kernels of a type read: those with a zero point, by their group.
Sums sums_of(DType type) {
  switch (type) {
    case DType::kQ8_0:
    case DType::kQ4_0:
    case DType::kQ5_0:
    case DType::kIQ4_NL:
    case DType::kIQ4_XS:
      return {.sum32 = true};
    case DType::kQ2_K:
    case DType::kQ3_K:
    case DType::kQ6_K:
      return {.sum16 = true};
    default:
      return {};
  }
}

// Panels of a job that one task computes. Where weights stream once, tasks only balance the threads; where they are
// read once for each tile, they must also stay in the cache. Whole groups of panels.
std::size_t chunk_panels(const Panels& panels, std::size_t all_panels, bool stream, std::size_t threads) {
  std::size_t chunk = ceil_div(all_panels, threads * kTasksPerThread);
  if (!stream) chunk = std::min(chunk, kChunkBytes / panels.shape().panel_bytes);
  return std::max(kPanelGroup, chunk / kPanelGroup * kPanelGroup);
}

// Panels that several tiles take in turn; 0 where they are too large for that.
std::size_t group_panels(const Panels& panels) {
  const std::size_t bytes = panels.shape().panel_bytes;
  if (kPanelGroup * bytes <= kFewPanelBytes) return kFewPanelBytes / (kPanelGroup * bytes) * kPanelGroup;
  return 2 * bytes <= kMostPanelBytes ? 2 : 0;
}

struct TileRows {
  std::size_t first;
  std::size_t columns;
};

// Tile `tile` of `rows` rows that are cut into `tiles` as evenly as can be, wider ones first.
TileRows tile_rows(std::size_t rows, std::size_t tiles, std::size_t tile) {
  const std::size_t least = rows / tiles;
  const std::size_t wider = rows % tiles;
  return {tile * least + std::min(tile, wider), least + (tile < wider ? 1 : 0)};
}

}  // namespace

Linear::Linear(Isa isa, Compute compute, base::ThreadPool& pool)
    : kernels_(kernels_of(isa)), compute_(compute), pool_(pool) {}

std::unique_ptr<PackedLinear> Linear::pack(const Tensor& weights) { return pack_panels(weights, pool_, memory_); }

TileForm Linear::form(DType type) const {
  if (compute_ == Compute::kExact) return TileForm::kF32;
  if (type == DType::kBF16) return kernels_.bf16_form;
  return is_quantized(type) ? TileForm::kQ8 : TileForm::kF32;
}

ActivationForms Linear::forms(DType type) const {
  const TileForm needed = form(type);
  return {.q8 = needed == TileForm::kQ8, .bf16 = needed == TileForm::kBf16, .f32 = needed == TileForm::kF32};
}

std::span<const int> Linear::widths(TileForm form) const {
  if (form == TileForm::kQ8 && kernels_.q8_width_count != 0) {
    return {kernels_.q8_widths, static_cast<std::size_t>(kernels_.q8_width_count)};
  }
  return {kernels_.widths, static_cast<std::size_t>(kernels_.width_count)};
}

// The least width of a form that holds `columns`.
std::size_t Linear::width_index(TileForm form, std::size_t columns) const {
  std::size_t index = 0;
  while (static_cast<std::size_t>(widths(form)[index]) < columns) ++index;
  return index;
}

// The fewest tiles of a form that hold `rows`.
std::size_t Linear::tiles(TileForm form, std::size_t rows) const {
  const bool is_q8 = form == TileForm::kQ8 && kernels_.q8_width_count != 0;
  const int many = is_q8 ? kernels_.q8_many_width : kernels_.many_width;
  const auto widest = static_cast<std::size_t>(widths(form).back());
  return many == 0 || rows <= widest ? ceil_div(rows, widest) : ceil_div(rows, static_cast<std::size_t>(many));
}

std::size_t Linear::width(TileForm form, std::size_t columns) const {
  return static_cast<std::size_t>(widths(form)[width_index(form, columns)]);
}

Linear::Forms Linear::plan(std::span<const LinearJob> jobs, std::size_t in_features, std::size_t rows) const {
  Forms forms;
  for (const LinearJob& job : jobs) {
    const DType type = job.weights->stored_type();
    const auto index = static_cast<std::size_t>(form(type));
    forms.tiles[index] = tiles(form(type), rows);
    forms.layout[index].sum32 |= sums_of(type).sum32;
    forms.layout[index].sum16 |= sums_of(type).sum16;
  }
  for (std::size_t index = 0; index < 3; ++index) {
    if (forms.tiles[index] == 0) continue;
    TileLayout& layout = forms.layout[index];
    layout.form = static_cast<TileForm>(index);
    layout.width = width(layout.form, tile_rows(rows, forms.tiles[index], 0).columns);
    layout.in_features = in_features;
    forms.offset[index] = forms.bytes;
    forms.bytes += forms.tiles[index] * layout.bytes();
    forms.all_tiles += forms.tiles[index];
  }
  return forms;
}

// Interleaves tile `tile` of a form, or lets a single row be read in place.
ActivationTile Linear::fill(const Forms& forms, std::size_t form, std::size_t tile, const Activations& in,
                            std::size_t first_row, std::size_t rows) {
  const auto [first, columns] = tile_rows(rows, forms.tiles[form], tile);
  TileLayout layout = forms.layout[form];
  std::byte* const memory = scratch_.data() + forms.offset[form] + tile * layout.bytes();
  layout.width = width(layout.form, columns);
  if (in.rows == 1 && layout.width == 1) return single_row(layout, in, memory);
  return interleave(layout, in, first_row + first, columns, memory);
}

// Panels [first, end) of a job for all tiles of its form: tile by tile where the panels stay in the cache, else group
// by group, so that weights are read from memory once and asked for all the while.
void Linear::run_task(const Forms& forms, const LinearJob& job, const Task& task, const ActivationTile* single) {
  const Panels& panels = panels_of(job);
  const DType type = panels.stored_type();
  const TileForm tile_form = form(type);
  const auto index = static_cast<std::size_t>(tile_form);
  const LinearTypeKernels& kernels = *kernels_.types[static_cast<std::size_t>(type)];
  const LinearFunction* functions = compute_ == Compute::kExact ? kernels.exact : kernels.fast;
  LinearCall call{.panels = panels.panel(0),
                  .panel_bytes = panels.shape().panel_bytes,
                  .scale_area = panels.shape().scale_area,
                  .in_features = panels.in_features(),
                  .out_features = panels.out_features(),
                  .out_stride = job.out.row_stride / sizeof(float),
                  .bias = job.bias,
                  .accumulate = job.accumulate};
  const std::size_t tiles = forms.tiles[index];
  const std::size_t group = forms.are_few && tiles > 1 ? group_panels(panels) : 0;
  const std::size_t step = group != 0 ? group : task.end_panel - task.first_panel;
  call.ahead_bytes = group * call.panel_bytes;
  for (std::size_t panel = task.first_panel; panel < task.end_panel; panel += step) {
    for (std::size_t tile = 0; tile < tiles; ++tile) {
      const auto [first, columns] = tile_rows(task.rows, tiles, tile);
      TileLayout layout = forms.layout[index];
      std::byte* const memory = scratch_.data() + forms.offset[index] + tile * layout.bytes();
      layout.width = width(tile_form, columns);
      call.x = single != nullptr ? single[index] : layout.at(memory, columns);
      call.ahead_period = group != 0 ? tiles : tile == 0 ? 1 : 0;
      call.ahead_phase = group != 0 ? tile : 0;
      call.out = job.out.f32(task.first_row + first);
      functions[width_index(tile_form, columns)](call, panel, std::min(panel + step, task.end_panel));
    }
  }
}

void Linear::run_strip(const Activations& in, std::span<const LinearJob> jobs, std::size_t first_row,
                       std::size_t rows) {
  Forms forms = plan(jobs, in.columns, rows);
  forms.are_few = forms.bytes <= kFewTileBytes;
  if (scratch_.size() < forms.bytes) scratch_ = Buffer(forms.bytes);

  ActivationTile single[3];
  const auto fill_one = [&](std::size_t tile, int) {
    std::size_t form = 0;
    while (tile >= forms.tiles[form]) tile -= forms.tiles[form++];
    const ActivationTile filled = fill(forms, form, tile, in, first_row, rows);
    if (in.rows == 1) single[form] = filled;
  };
  if (forms.bytes < kForkBytes) {
    for (std::size_t tile = 0; tile < forms.all_tiles; ++tile) fill_one(tile, 0);
  } else {
    pool_.run(forms.all_tiles, fill_one);
  }

  std::size_t all_panels = 0;
  for (const LinearJob& job : jobs) all_panels += panels_of(job).group_count() * kPanelGroup;
  std::size_t chunk[kMaxJobs];
  std::size_t first_task[kMaxJobs + 1] = {0};
  for (std::size_t j = 0; j < jobs.size(); ++j) {
    const Panels& panels = panels_of(jobs[j]);
    const bool stream = forms.all_tiles == 1 || (forms.are_few && group_panels(panels) != 0);
    chunk[j] = chunk_panels(panels, all_panels, stream, static_cast<std::size_t>(pool_.threads()));
    first_task[j + 1] = first_task[j] + ceil_div(panels.group_count() * kPanelGroup, chunk[j]);
  }
  pool_.run(first_task[jobs.size()], [&](std::size_t index, int) {
    std::size_t j = 0;
    while (index >= first_task[j + 1]) ++j;
    const std::size_t first_panel = (index - first_task[j]) * chunk[j];
    const std::size_t end_panel = std::min(panels_of(jobs[j]).group_count() * kPanelGroup, first_panel + chunk[j]);
    run_task(forms, jobs[j], {first_row, rows, first_panel, end_panel}, in.rows == 1 ? single : nullptr);
  });
}

void Linear::run(const Activations& in, std::span<const LinearJob> jobs) {
  CHECK(jobs.size() <= kMaxJobs) << jobs.size() << " jobs";
  if (in.rows == 0 || jobs.empty()) return;
  for (const LinearJob& job : jobs) {
    CHECK(job.weights != nullptr && job.weights->in_features() == in.columns)
        << "weights read " << job.weights->in_features() << " features, not " << in.columns;
    CHECK(job.out.type == DType::kF32 && job.out.rows == in.rows && job.out.columns == job.weights->out_features())
        << "out is " << job.out.rows << " x " << job.out.columns << " for " << in.rows << " x "
        << job.weights->out_features();
    const TileForm needed = form(job.weights->stored_type());
    CHECK(needed != TileForm::kQ8 || in.q8 != nullptr) << "activations were not prepared as int8";
    CHECK(needed != TileForm::kBf16 || in.bf16 != nullptr) << "activations were not prepared as bf16";
    CHECK(needed != TileForm::kF32 || in.f32 != nullptr) << "activations have no f32";
  }
  const std::size_t strips = ceil_div(in.rows, kStripRows);
  const std::size_t rows_a_strip = ceil_div(in.rows, strips);
  for (std::size_t first = 0; first < in.rows; first += rows_a_strip) {
    run_strip(in, jobs, first, std::min(rows_a_strip, in.rows - first));
  }
}

}  // namespace autoglm::kernels

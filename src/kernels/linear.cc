// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear.h"

#include <algorithm>

namespace autoglm::kernels {
namespace {

// Rows whose tiles are in memory at a time. With more the tiles crowd out the weights, with fewer the weights are read
// too often. A multiple of 12, the widest tile, that holds a chunk of 512 rows.
constexpr std::size_t kStripRows = 528;
// Weights that a task walks through once for each tile: they should stay in a part of a 1 MiB second-level cache.
constexpr std::size_t kChunkBytes = std::size_t{256} << 10;
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

// Panels of a job that one task computes. With one tile the weights stream once and tasks only balance the threads;
// with several tiles they must also stay in the cache. Whole groups of panels.
std::size_t chunk_panels(const Panels& panels, std::size_t all_panels, std::size_t tiles, std::size_t threads) {
  std::size_t chunk = ceil_div(all_panels, threads * kTasksPerThread);
  if (tiles > 1) chunk = std::min(chunk, kChunkBytes / panels.shape().panel_bytes);
  return std::max(kPanelGroup, chunk / kPanelGroup * kPanelGroup);
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

// The width of the tiles that `rows` are cut into evenly: the least that holds them in the fewest tiles.
int Linear::width_index(std::size_t rows) const {
  const auto widest = static_cast<std::size_t>(kernels_.widths[kernels_.width_count - 1]);
  const std::size_t wanted = ceil_div(rows, ceil_div(rows, widest));
  int index = 0;
  while (static_cast<std::size_t>(kernels_.widths[index]) < wanted) ++index;
  return index;
}

Linear::Forms Linear::plan(std::span<const LinearJob> jobs, std::size_t in_features, std::size_t width,
                           std::size_t tiles) const {
  Forms forms;
  for (const LinearJob& job : jobs) {
    const DType type = job.weights->stored_type();
    const auto index = static_cast<std::size_t>(form(type));
    forms.wanted[index] = true;
    forms.layout[index].sum32 |= sums_of(type).sum32;
    forms.layout[index].sum16 |= sums_of(type).sum16;
  }
  for (std::size_t index = 0; index < 3; ++index) {
    if (!forms.wanted[index]) continue;
    TileLayout& layout = forms.layout[index];
    layout.form = static_cast<TileForm>(index);
    layout.width = width;
    layout.in_features = in_features;
    forms.offset[index] = forms.bytes;
    forms.bytes += tiles * layout.bytes();
  }
  return forms;
}

void Linear::run_strip(const Activations& in, std::span<const LinearJob> jobs, std::size_t first_row,
                       std::size_t rows) {
  const int width_at = width_index(rows);
  const auto width = static_cast<std::size_t>(kernels_.widths[width_at]);
  const std::size_t tiles = ceil_div(rows, width);
  const Forms forms = plan(jobs, in.columns, width, tiles);
  if (scratch_.size() < forms.bytes) scratch_ = Buffer(forms.bytes);

  const auto columns_of = [&](std::size_t tile) { return std::min(width, rows - tile * width); };
  const auto place = [&](std::size_t form_index, std::size_t tile) {
    return scratch_.data() + forms.offset[form_index] + tile * forms.layout[form_index].bytes();
  };
  ActivationTile single[3];
  const auto fill = [&](std::size_t tile, int) {
    for (std::size_t f = 0; f < 3; ++f) {
      if (!forms.wanted[f]) continue;
      if (in.rows == 1 && width == 1) {
        single[f] = single_row(forms.layout[f], in, place(f, 0));
      } else {
        interleave(forms.layout[f], in, first_row + tile * width, columns_of(tile), place(f, tile));
      }
    }
  };
  if (forms.bytes < kForkBytes) {
    for (std::size_t tile = 0; tile < tiles; ++tile) fill(tile, 0);
  } else {
    pool_.run(tiles, fill);
  }

  std::size_t all_panels = 0;
  for (const LinearJob& job : jobs) all_panels += panels_of(job).group_count() * kPanelGroup;
  std::size_t chunk[kMaxJobs];
  std::size_t first_task[kMaxJobs + 1] = {0};
  for (std::size_t j = 0; j < jobs.size(); ++j) {
    const Panels& panels = panels_of(jobs[j]);
    chunk[j] = chunk_panels(panels, all_panels, tiles, static_cast<std::size_t>(pool_.threads()));
    first_task[j + 1] = first_task[j] + ceil_div(panels.group_count() * kPanelGroup, chunk[j]);
  }
  pool_.run(first_task[jobs.size()], [&](std::size_t task, int) {
    std::size_t j = 0;
    while (task >= first_task[j + 1]) ++j;
    const LinearJob& job = jobs[j];
    const Panels& panels = panels_of(job);
    const auto type = static_cast<std::size_t>(panels.stored_type());
    const auto form_index = static_cast<std::size_t>(form(panels.stored_type()));
    const LinearFunction function =
        (compute_ == Compute::kExact ? kernels_.types[type]->exact : kernels_.types[type]->fast)[width_at];
    LinearCall call{.panels = panels.panel(0),
                    .panel_bytes = panels.shape().panel_bytes,
                    .scale_area = panels.shape().scale_area,
                    .in_features = in.columns,
                    .out_features = panels.out_features(),
                    .out_stride = job.out.row_stride / sizeof(float),
                    .bias = job.bias,
                    .accumulate = job.accumulate};
    const std::size_t first_panel = (task - first_task[j]) * chunk[j];
    const std::size_t end_panel = std::min(panels.group_count() * kPanelGroup, first_panel + chunk[j]);
    for (std::size_t tile = 0; tile < tiles; ++tile) {
      const bool in_place = in.rows == 1 && width == 1;
      call.x = in_place ? single[form_index] : forms.layout[form_index].at(place(form_index, tile), columns_of(tile));
      call.stream = tile == 0;
      call.out = job.out.f32(first_row + tile * width);
      function(call, first_panel, end_panel);
    }
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

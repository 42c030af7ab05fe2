// SPDX-License-Identifier: Apache-2.0
// Linear layers of ops.h: interleaves the activations into tiles and cuts panels over the pool. The arithmetic is
// behind LinearKernels. Engine thread.
#pragma once

#include <memory>
#include <span>

#include "kernels/interleave.h"
#include "kernels/linear_kernels.h"
#include "kernels/ops.h"
#include "kernels/panels.h"
#include "kernels/tensor.h"

namespace autoglm::kernels {

class Linear final {
 public:
  /// `pool` must outlive it.
  Linear(Isa isa, Compute compute, base::ThreadPool& pool);

  std::unique_ptr<PackedLinear> pack(const Tensor& weights);
  ActivationForms forms(DType type) const;
  void run(const Activations& in, std::span<const LinearJob> jobs);

 private:
  // The forms that the jobs read, how a strip's rows are cut into tiles of each, and where these lie in the scratch
  // memory.
  struct Forms {
    std::size_t tiles[3] = {};  // by TileForm; 0 = not read
    TileLayout layout[3];       // of the widest tile; every tile has that much room
    std::size_t offset[3] = {};
    std::size_t all_tiles = 0;
    std::size_t bytes = 0;
    bool are_few = false;  // so that they stay in the cache
  };

  // Rows of the batch that are a strip, and panels of a job.
  struct Task {
    std::size_t first_row;
    std::size_t rows;
    std::size_t first_panel;
    std::size_t end_panel;
  };

  TileForm form(DType type) const;
  std::span<const int> widths(TileForm form) const;
  std::size_t width_index(TileForm form, std::size_t columns) const;
  std::size_t width(TileForm form, std::size_t columns) const;
  std::size_t tiles(TileForm form, std::size_t rows) const;
  Forms plan(std::span<const LinearJob> jobs, std::size_t in_features, std::size_t rows) const;
  ActivationTile fill(const Forms& forms, std::size_t form, std::size_t tile, const Activations& in,
                      std::size_t first_row, std::size_t rows);
  void run_task(const Forms& forms, const LinearJob& job, const Task& task, const ActivationTile* single);
  void run_strip(const Activations& in, std::span<const LinearJob> jobs, std::size_t first_row, std::size_t rows);

  const LinearKernels& kernels_;
  const Compute compute_;
  base::ThreadPool& pool_;
  PanelMemory memory_;
  Buffer scratch_;  // the tiles of one strip; grows to the largest strip seen and stays
};

}  // namespace autoglm::kernels

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
  // The forms that the jobs read, and where their tiles lie in the scratch memory.
  struct Forms {
    bool wanted[3] = {};  // by TileForm
    TileLayout layout[3];
    std::size_t offset[3] = {};
    std::size_t bytes = 0;
  };

  TileForm form(DType type) const;
  int width_index(std::size_t rows) const;
  Forms plan(std::span<const LinearJob> jobs, std::size_t in_features, std::size_t width, std::size_t tiles) const;
  void run_strip(const Activations& in, std::span<const LinearJob> jobs, std::size_t first_row, std::size_t rows);

  const LinearKernels& kernels_;
  const Compute compute_;
  base::ThreadPool& pool_;
  PanelMemory memory_;
  Buffer scratch_;  // the tiles of one strip; grows to the largest strip seen and stays
};

}  // namespace autoglm::kernels

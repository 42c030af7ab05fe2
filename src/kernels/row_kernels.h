// SPDX-License-Identifier: Apache-2.0
// The row operations of ops.h (everything but packing and linear layers) for one instruction set. The methods here cut
// the work over the pool and take memory from the arena, in code compiled for the floor; what runs inside goes through
// a table of plain functions that the folders scalar/, avx2/ and avx512/ fill, so that no shared inline function is
// compiled for more than the floor. Engine thread.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/ops.h"

namespace autoglm::kernels {

struct RowTable;  // the plain functions of one instruction set, over a range of rows or heads; see row_table.h

class RowKernels final {
 public:
  /// `pool` and `arena` must outlive it.
  RowKernels(Isa isa, Compute compute, base::ThreadPool& pool, Arena& arena);

  Activations prepare(const Tensor& x, ActivationForms forms) const;
  Activations rms_norm_prepare(const Tensor& x, const float* weight, float eps, ActivationForms forms) const;
  Activations gated_prepare(const Tensor& gate, const Tensor& up, Activation activation, ActivationForms forms) const;
  Activations pick(const Activations& in, std::span<const std::uint32_t> rows, ActivationForms forms) const;
  void route(const RouteJob& job) const;
  void add_scaled(const Tensor& x, const Tensor& y, std::span<const std::uint32_t> rows, const float* weights) const;
  Activations layer_norm_prepare(const Tensor& x, const float* weight, const float* bias, float eps,
                                 ActivationForms forms) const;
  Activations gelu_prepare(const Tensor& x, ActivationForms forms) const;
  void add_norm(const Tensor& x, const Tensor& y, const float* weight, float eps) const;
  void embed(const Tensor& table, std::span<const std::int32_t> ids, float scale, const Tensor& out) const;
  void rotate_store(const RotateStore& job) const;
  void attention(const AttentionJob& job) const;
  void softcap(const Tensor& x, float cap) const;

 private:
  template <typename Function>
  Activations activate(const Tensor& x, ActivationForms forms, const Function& function) const;

  const RowTable& table_;
  Compute compute_;
  base::ThreadPool& pool_;
  Arena& arena_;
  Buffer scratch_;  // of attention, cut by worker: sized here, so that no step allocates
};

/// Scratch that RowKernels holds for `threads` threads.
std::size_t attention_scratch_bytes(int threads);

}  // namespace autoglm::kernels

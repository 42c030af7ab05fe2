// SPDX-License-Identifier: Apache-2.0
// Ops on this machine's processor: linear layers go to Linear, everything else to RowKernels.
#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/linear.h"
#include "kernels/ops.h"
#include "kernels/panels.h"
#include "kernels/row_kernels.h"

namespace autoglm::kernels {
namespace {

class CpuOps final : public Ops {
 public:
  CpuOps(Isa isa, Compute compute, base::ThreadPool& pool, Arena& arena)
      : isa_(isa),
        compute_(compute),
        pool_(pool),
        arena_(arena),
        linear_(isa, compute, pool),
        rows_(isa, compute, pool, arena) {}

  Isa isa() const override { return isa_; }
  Compute compute() const override { return compute_; }
  base::ThreadPool& pool() const override { return pool_; }
  Arena& arena() const override { return arena_; }

  std::unique_ptr<PackedLinear> pack(const Tensor& weights) override { return linear_.pack(weights); }
  std::size_t packed_bytes(const Tensor& weights) const override { return kernels::packed_bytes(weights); }
  ActivationForms forms(DType type) const override { return linear_.forms(type); }
  void linear(const Activations& in, std::span<const LinearJob> jobs) override { linear_.run(in, jobs); }

  Activations prepare(const Tensor& x, ActivationForms forms) override { return rows_.prepare(x, forms); }
  Activations rms_norm_prepare(const Tensor& x, const float* weight, float eps, ActivationForms forms) override {
    return rows_.rms_norm_prepare(x, weight, eps, forms);
  }
  Activations gated_prepare(const Tensor& gate, const Tensor& up, Activation activation,
                            ActivationForms forms) override {
    return rows_.gated_prepare(gate, up, activation, forms);
  }
  Activations pick(const Activations& in, std::span<const std::uint32_t> rows, ActivationForms forms) override {
    return rows_.pick(in, rows, forms);
  }
  void route(const RouteJob& job) override { rows_.route(job); }
  void add_scaled(const Tensor& x, const Tensor& y, std::span<const std::uint32_t> rows,
                  const float* weights) override {
    rows_.add_scaled(x, y, rows, weights);
  }
  Activations layer_norm_prepare(const Tensor& x, const float* weight, const float* bias, float eps,
                                 ActivationForms forms) override {
    return rows_.layer_norm_prepare(x, weight, bias, eps, forms);
  }
  Activations gelu_prepare(const Tensor& x, ActivationForms forms) override { return rows_.gelu_prepare(x, forms); }
  void add_norm(const Tensor& x, const Tensor& y, const float* weight, float eps) override {
    rows_.add_norm(x, y, weight, eps);
  }
  void embed(const Tensor& table, std::span<const std::int32_t> ids, float scale, const Tensor& out) override {
    rows_.embed(table, ids, scale, out);
  }
  void rotate_store(const RotateStore& job) override { rows_.rotate_store(job); }
  void attention(const AttentionJob& job) override { rows_.attention(job); }
  void softcap(const Tensor& x, float cap) override { rows_.softcap(x, cap); }

 private:
  const Isa isa_;
  const Compute compute_;
  base::ThreadPool& pool_;
  Arena& arena_;
  Linear linear_;
  RowKernels rows_;
};

}  // namespace

std::unique_ptr<Ops> make_ops(Isa isa, Compute compute, base::ThreadPool& pool, Arena& arena) {
  const std::vector<Isa> isas = available_isas();
  CHECK(std::find(isas.begin(), isas.end(), isa) != isas.end()) << "this processor has no " << isa_name(isa);
  return std::make_unique<CpuOps>(isa, compute, pool, arena);
}

}  // namespace autoglm::kernels

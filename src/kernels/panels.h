// SPDX-License-Identifier: Apache-2.0
// The packed weights of a linear layer (layout: kernels/panel_layout.h). Immutable after pack_panels().
#pragma once

#include <cstddef>
#include <memory>

#include "base/thread_pool.h"
#include "kernels/ops.h"
#include "kernels/panel_layout.h"
#include "kernels/tensor.h"

namespace autoglm::kernels {

class Panels final : public PackedLinear {
 public:
  struct Shape {
    DType type = DType::kF32;
    std::size_t out_features = 0;
    std::size_t in_features = 0;
    std::size_t scale_area = 0;   // bytes of a panel before its codes; a multiple of 64
    std::size_t panel_bytes = 0;  // a multiple of 64
  };

  explicit Panels(const Shape& shape) : shape_(shape), memory_(panel_count() * shape.panel_bytes) {}

  std::size_t out_features() const override { return shape_.out_features; }
  std::size_t in_features() const override { return shape_.in_features; }
  DType stored_type() const override { return shape_.type; }
  std::size_t bytes() const override { return memory_.size(); }

  std::size_t panel_count() const { return (shape_.out_features + kPanelRows - 1) / kPanelRows; }
  const Shape& shape() const { return shape_; }
  std::byte* panel(std::size_t index) const { return memory_.data() + index * shape_.panel_bytes; }

 private:
  Shape shape_;
  Buffer memory_;
};

/// Packs `weights` [out_features, in_features].
///   Thread   splits over `pool` by panels
///   Cost     O(bytes)
std::unique_ptr<Panels> pack_panels(const Tensor& weights, base::ThreadPool& pool);

}  // namespace autoglm::kernels

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

// Memory for the panels of many layers, cut from large buffers in the order of packing: layers of a small model lie
// side by side on huge pages, which one buffer for each would not get. Freed when the last layer of a buffer is.
class PanelMemory final {
 public:
  /// Zeroed, aligned to 64 bytes.
  std::shared_ptr<std::byte> take(std::size_t bytes);

 private:
  std::shared_ptr<Buffer> buffer_;
  std::size_t used_ = 0;
};

class Panels final : public PackedLinear {
 public:
  struct Shape {
    DType type = DType::kF32;
    std::size_t out_features = 0;
    std::size_t in_features = 0;
    std::size_t scale_area = 0;   // bytes of a panel before its codes; a multiple of 64
    std::size_t panel_bytes = 0;  // a multiple of 64
  };

  Panels(const Shape& shape, PanelMemory& memory)
      : shape_(shape), bytes_(bytes_of(shape)), panels_(memory.take(bytes_)) {}

  static std::size_t bytes_of(const Shape& shape) {
    const std::size_t panels = (shape.out_features + kPanelRows - 1) / kPanelRows;
    return (panels + kPanelGroup - 1) / kPanelGroup * kPanelGroup * shape.panel_bytes;
  }

  std::size_t out_features() const override { return shape_.out_features; }
  std::size_t in_features() const override { return shape_.in_features; }
  DType stored_type() const override { return shape_.type; }
  std::size_t bytes() const override { return bytes_; }

  std::size_t panel_count() const { return (shape_.out_features + kPanelRows - 1) / kPanelRows; }
  std::size_t group_count() const { return (panel_count() + kPanelGroup - 1) / kPanelGroup; }
  const Shape& shape() const { return shape_; }
  std::byte* panel(std::size_t index) const { return panels_.get() + index * shape_.panel_bytes; }

 private:
  Shape shape_;
  std::size_t bytes_;
  std::shared_ptr<std::byte> panels_;
};

/// The bytes of the panels that pack_panels() makes of such weights; their data are not looked at.
std::size_t packed_bytes(const Tensor& weights);

/// Packs `weights` [out_features, in_features] into memory taken from `memory`.
///   Thread   splits over `pool` by panels
///   Cost     O(bytes)
std::unique_ptr<Panels> pack_panels(const Tensor& weights, base::ThreadPool& pool, PanelMemory& memory);

}  // namespace autoglm::kernels

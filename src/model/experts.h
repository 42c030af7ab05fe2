// SPDX-License-Identifier: Apache-2.0
// The routed experts of a model. Each is packed on its first use, so that a model whose tokens meet a few of many
// starts as fast as those few. Any thread may ask; packing is one at a time, and splits over the pool of `ops`, on
// which nothing else may run meanwhile.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "base/mutex.h"
#include "kernels/ops.h"
#include "model/projection.h"
#include "model/weight_plan.h"

namespace autoglm::model {

struct Expert {
  Projection gate, up, down;
};

class Experts final {
 public:
  /// `layers` has the stored experts of every layer, none for a layer without. Checkpoint and ops must outlive this.
  Experts(const Checkpoint& checkpoint, kernels::Ops& ops, std::optional<kernels::DType> asked,
          std::vector<std::vector<StoredExpert>> layers);

  /// The expert, or null before its first use.
  const Expert* find(std::size_t layer, std::size_t index) const {
    return slot(layer, index).ready.load(std::memory_order_acquire);
  }
  /// The expert; packs it the first time. Throws std::bad_alloc where there is no memory for it.
  const Expert& use(std::size_t layer, std::size_t index);

  /// The forms that gate and up of a layer's experts read.
  kernels::ActivationForms forms(std::size_t layer) const { return layers_[layer].forms; }
  /// What one expert of a layer takes once packed, on average.
  std::size_t bytes_of_one(std::size_t layer) const {
    return layers_[layer].count == 0 ? 0 : layers_[layer].bytes / layers_[layer].count;
  }
  std::size_t count() const { return count_; }
  std::size_t packed() const { return packed_.load(std::memory_order_relaxed); }
  std::size_t packed_bytes() const { return packed_bytes_.load(std::memory_order_relaxed); }
  std::size_t all_bytes() const { return all_bytes_; }  // once all are packed

 private:
  struct Slot {
    std::atomic<const Expert*> ready = nullptr;
    std::unique_ptr<Expert> expert;
    StoredExpert stored;  // emptied when it is packed
  };
  struct Layer {
    std::size_t count = 0;
    std::size_t bytes = 0;
    kernels::ActivationForms forms;
    std::unique_ptr<Slot[]> slots;
  };

  Slot& slot(std::size_t layer, std::size_t index) const { return layers_[layer].slots[index]; }
  std::size_t bytes_of(const StoredExpert& expert) const;

  const Checkpoint& checkpoint_;
  kernels::Ops& ops_;
  const std::optional<kernels::DType> asked_;
  std::vector<Layer> layers_;
  std::size_t count_ = 0;
  std::size_t all_bytes_ = 0;
  base::Mutex packing_;
  std::atomic<std::size_t> packed_ = 0;
  std::atomic<std::size_t> packed_bytes_ = 0;
};

}  // namespace autoglm::model

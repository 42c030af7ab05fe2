// SPDX-License-Identifier: Apache-2.0
#include "model/experts.h"

#include <utility>

#include "base/check.h"

namespace autoglm::model {

Experts::Experts(const Checkpoint& checkpoint, kernels::Ops& ops, std::optional<kernels::DType> asked,
                 std::vector<std::vector<StoredExpert>> layers)
    : checkpoint_(checkpoint), ops_(ops), asked_(asked), layers_(layers.size()) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    Layer& layer = layers_[i];
    layer.count = layers[i].size();
    layer.slots = std::make_unique<Slot[]>(layer.count);
    for (std::size_t e = 0; e < layer.count; ++e) {
      StoredExpert& stored = layers[i][e];
      layer.bytes += bytes_of(stored);
      layer.forms = layer.forms | ops.forms(stored.gate.type(asked)) | ops.forms(stored.up.type(asked));
      layer.slots[e].stored = std::move(stored);
    }
    count_ += layer.count;
    all_bytes_ += layer.bytes;
  }
}

std::size_t Experts::bytes_of(const StoredExpert& expert) const {
  std::size_t bytes = 0;
  for (const StoredProjection* one : {&expert.gate, &expert.up, &expert.down}) {
    bytes += ops_.packed_bytes(one->extent(asked_));
  }
  return bytes;
}

const Expert& Experts::use(std::size_t layer, std::size_t index) {
  DCHECK(index < layers_[layer].count) << "expert " << index << " of " << layers_[layer].count;
  Slot& slot = this->slot(layer, index);
  if (const Expert* ready = slot.ready.load(std::memory_order_acquire); ready != nullptr) return *ready;
  const base::MutexLock lock(packing_);
  if (slot.expert != nullptr) return *slot.expert;  // packed by another thread meanwhile
  const StoredExpert& stored = slot.stored;
  auto expert = std::make_unique<Expert>();
  expert->gate = pack_projection(checkpoint_, ops_, stored.gate, asked_);
  expert->up = pack_projection(checkpoint_, ops_, stored.up, asked_);
  expert->down = pack_projection(checkpoint_, ops_, stored.down, asked_);
  packed_bytes_.fetch_add(bytes_of(stored), std::memory_order_relaxed);
  packed_.fetch_add(1, std::memory_order_relaxed);
  slot.stored = {};
  slot.expert = std::move(expert);
  slot.ready.store(slot.expert.get(), std::memory_order_release);
  return *slot.expert;
}

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
#include "model/kv_cache.h"

#include <cstring>

#include "base/check.h"

namespace autoglm::model {
namespace {

kernels::KvLayer shape_of(const ModelConfig& config, kernels::KvType type) {
  kernels::KvLayer layer;
  layer.type = type;
  layer.kv_heads = config.kv_heads;
  layer.head_dim = config.head_dim;
  return layer;
}

}  // namespace

std::size_t KvCache::bytes_per_block(const ModelConfig& config, kernels::KvType type) {
  return 2 * config.layers.size() * config.kv_heads * shape_of(config, type).head_bytes();
}

KvCache::KvCache(const ModelConfig& config, kernels::KvType type, std::size_t blocks)
    : memory_(bytes_per_block(config, type) * blocks), blocks_(blocks) {
  kernels::KvLayer layer = shape_of(config, type);
  const std::size_t part_bytes = layer.kv_heads * layer.head_bytes();
  layer.block_bytes = bytes_per_block(config, type);
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    layer.keys = memory_.data() + 2 * i * part_bytes;
    layer.values = layer.keys + part_bytes;
    layers_.push_back(layer);
  }
}

void KvCache::copy_block(std::size_t from, std::size_t to) {
  CHECK(from < blocks_ && to < blocks_) << "block " << from << " to " << to << " of " << blocks_;
  const std::size_t bytes = memory_.size() / blocks_;
  std::memmove(memory_.data() + to * bytes, memory_.data() + from * bytes, bytes);
}

}  // namespace autoglm::model

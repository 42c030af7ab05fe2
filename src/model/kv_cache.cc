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
  const std::size_t part_bytes = memory_.size() / (2 * config.layers.size());
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    kernels::KvLayer layer = shape_of(config, type);
    layer.keys = memory_.data() + 2 * i * part_bytes;
    layer.values = layer.keys + part_bytes;
    layers_.push_back(layer);
  }
}

void KvCache::copy_block(std::size_t from, std::size_t to) {
  CHECK(from < blocks_ && to < blocks_) << "block " << from << " to " << to << " of " << blocks_;
  for (const kernels::KvLayer& layer : layers_) {
    const std::size_t bytes = layer.kv_heads * layer.head_bytes();
    std::memmove(layer.keys + to * bytes, layer.keys + from * bytes, bytes);
    std::memmove(layer.values + to * bytes, layer.values + from * bytes, bytes);
  }
}

}  // namespace autoglm::model

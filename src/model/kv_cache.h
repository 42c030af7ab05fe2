// SPDX-License-Identifier: Apache-2.0
// The memory of paged keys and values: blocks of kernels::KvLayer::kBlockTokens tokens, counted by the engine. The
// layers of a block lie side by side: the system gives memory in large pages when it is first written, and a short
// sequence then has few of them and not one for each layer. Engine thread only.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/ops.h"
#include "model/config.h"

namespace autoglm::model {

class KvCache final {
 public:
  KvCache() = default;
  /// Reserves `blocks` blocks for every layer.
  KvCache(const ModelConfig& config, kernels::KvType type, std::size_t blocks);

  const kernels::KvLayer& layer(std::size_t index) const { return layers_[index]; }
  std::size_t blocks() const { return blocks_; }
  /// Copies keys and values of all layers.
  void copy_block(std::size_t from, std::size_t to);

  /// Keys and values of one block over all layers.
  static std::size_t bytes_per_block(const ModelConfig& config, kernels::KvType type);

 private:
  kernels::Buffer memory_;
  std::vector<kernels::KvLayer> layers_;
  std::size_t blocks_ = 0;
};

}  // namespace autoglm::model

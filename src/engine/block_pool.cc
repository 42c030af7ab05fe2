// SPDX-License-Identifier: Apache-2.0
#include "engine/block_pool.h"

#include "base/check.h"

namespace autoglm::engine {

BlockPool::BlockPool(std::size_t block_count) : ref_counts_(block_count, 0) {
  CHECK(block_count > 0);
  free_.reserve(block_count);
  for (std::size_t i = block_count; i > 0; --i) free_.push_back(static_cast<BlockIndex>(i - 1));
}

std::optional<BlockIndex> BlockPool::take() {
  if (free_.empty()) return std::nullopt;
  const BlockIndex block = free_.back();
  free_.pop_back();
  CHECK(ref_counts_[block] == 0) << "block " << block << " was free and held " << ref_counts_[block] << " times";
  ref_counts_[block] = 1;
  return block;
}

void BlockPool::share(BlockIndex block) {
  CHECK(block < ref_counts_.size() && ref_counts_[block] > 0) << "block " << block << " is not held";
  ++ref_counts_[block];
}

void BlockPool::give_back(BlockIndex block) {
  CHECK(block < ref_counts_.size() && ref_counts_[block] > 0) << "block " << block << " is not held";
  if (--ref_counts_[block] == 0) free_.push_back(block);
}

void BlockPool::check_invariants() const {
  std::vector<bool> is_free(ref_counts_.size(), false);
  for (BlockIndex block : free_) {
    CHECK(block < ref_counts_.size()) << "block " << block << " of " << ref_counts_.size();
    CHECK(!is_free[block]) << "block " << block << " is in the free list twice";
    CHECK(ref_counts_[block] == 0) << "block " << block << " is free and held";
    is_free[block] = true;
  }
  for (std::size_t block = 0; block < ref_counts_.size(); ++block) {
    CHECK(is_free[block] == (ref_counts_[block] == 0)) << "block " << block << " is neither free nor held";
  }
}

}  // namespace autoglm::engine

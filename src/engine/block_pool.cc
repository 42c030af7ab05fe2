// SPDX-License-Identifier: Apache-2.0
#include "engine/block_pool.h"

#include "base/check.h"
#include "engine/prefix_cache.h"

namespace autoglm::engine {

BlockPool::BlockPool(std::size_t block_count, PrefixCache* cache)
    : cache_(cache), ref_counts_(block_count, 0), order_(block_count) {
  CHECK(block_count > 0);
  free_.reserve(block_count);
  for (std::size_t i = block_count; i > 0; --i) free_.push_back(static_cast<BlockIndex>(i - 1));
}

std::optional<BlockIndex> BlockPool::take() {
  BlockIndex block = first_left_;
  if (!free_.empty()) {
    block = free_.back();
    free_.pop_back();
  } else if (block != kNone) {
    remove_cached(block);
    cache_->erase(block);
  } else {
    return std::nullopt;
  }
  CHECK(ref_counts_[block] == 0) << "block " << block << " was free and held " << ref_counts_[block] << " times";
  ref_counts_[block] = 1;
  return block;
}

void BlockPool::share(BlockIndex block) {
  CHECK(block < ref_counts_.size()) << "block " << block << " of " << ref_counts_.size();
  if (ref_counts_[block] == 0) {
    CHECK(cache_ != nullptr && cache_->holds(block)) << "block " << block << " is free";
    remove_cached(block);
  }
  ++ref_counts_[block];
}

void BlockPool::give_back(BlockIndex block) {
  CHECK(block < ref_counts_.size() && ref_counts_[block] > 0) << "block " << block << " is not held";
  if (--ref_counts_[block] > 0) return;
  if (cache_ != nullptr && cache_->holds(block)) {
    append_cached(block);
  } else {
    free_.push_back(block);
  }
}

void BlockPool::append_cached(BlockIndex block) {
  order_[block] = {last_left_, kNone};
  (last_left_ == kNone ? first_left_ : order_[last_left_].later) = block;
  last_left_ = block;
  ++cached_count_;
}

void BlockPool::remove_cached(BlockIndex block) {
  const Link link = order_[block];
  (link.earlier == kNone ? first_left_ : order_[link.earlier].later) = link.later;
  (link.later == kNone ? last_left_ : order_[link.later].earlier) = link.earlier;
  --cached_count_;
}

void BlockPool::check_invariants() const {
  enum class Place { kHeld, kFree, kCached };
  std::vector<Place> places(ref_counts_.size(), Place::kHeld);
  const auto put = [&](BlockIndex block, Place place) {
    CHECK(block < ref_counts_.size()) << "block " << block << " of " << ref_counts_.size();
    CHECK(places[block] == Place::kHeld) << "block " << block << " is in the lists twice";
    CHECK(ref_counts_[block] == 0) << "block " << block << " is in a list and held";
    places[block] = place;
  };
  for (const BlockIndex block : free_) put(block, Place::kFree);
  std::size_t cached = 0;
  for (BlockIndex block = first_left_; block != kNone; block = order_[block].later, ++cached) {
    put(block, Place::kCached);
    CHECK(cache_->holds(block)) << "block " << block << " is kept for a cache that does not know it";
  }
  CHECK(cached == cached_count_) << cached << " blocks are cached, " << cached_count_ << " were counted";
  for (std::size_t block = 0; block < ref_counts_.size(); ++block) {
    CHECK((places[block] == Place::kHeld) == (ref_counts_[block] > 0)) << "block " << block << " is nowhere";
    const bool is_known = cache_ != nullptr && cache_->holds(static_cast<BlockIndex>(block));
    CHECK(places[block] != Place::kFree || !is_known) << "block " << block << " is free and in the cache";
  }
  if (cache_ != nullptr) cache_->check_invariants();
}

}  // namespace autoglm::engine

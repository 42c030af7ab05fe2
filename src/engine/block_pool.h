// SPDX-License-Identifier: Apache-2.0
// Who holds which KV block, and in which order those that nobody holds are written anew. Blocks are indices into memory
// that the model reserved; the pool only counts. Engine thread only; allocates nothing after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/ops.h"

namespace autoglm::engine {

class PrefixCache;

using BlockIndex = std::uint32_t;
inline constexpr std::size_t kBlockTokens = kernels::KvLayer::kBlockTokens;

// A block is free, or held by ref_count >= 1 holders, or cached with ref_count 0; never two of these. A holder is one
// entry of one block table. Cached blocks stay in the order in which their last holders left.
class BlockPool final {
 public:
  /// `cache` says which blocks are worth keeping when nobody holds them; null = none.
  explicit BlockPool(std::size_t block_count, PrefixCache* cache = nullptr);

  /// A free block, or else the cached one that was left first, which the cache forgets; now held once. Nothing when all
  /// are held.
  std::optional<BlockIndex> take();
  /// One holder more of a held or cached block.
  void share(BlockIndex block);
  /// One holder less; the last one frees the block, or leaves it to the cache that knows it. Give a sequence's blocks
  /// back from its end: then the end of a prefix is written anew before its beginning.
  void give_back(BlockIndex block);

  std::size_t block_count() const { return ref_counts_.size(); }
  /// Blocks that take() can give: free and cached ones.
  std::size_t free_count() const { return free_.size() + cached_count_; }
  std::size_t cached_count() const { return cached_count_; }
  std::size_t used_count() const { return block_count() - free_count(); }
  std::uint32_t ref_count(BlockIndex block) const { return ref_counts_[block]; }

  /// CHECKs that the lists and the counts tell the same story. O(blocks); tests call it after every step.
  void check_invariants() const;

 private:
  static constexpr BlockIndex kNone = ~BlockIndex{0};

  // A place in the order of leaving.
  struct Link {
    BlockIndex earlier = kNone;
    BlockIndex later = kNone;
  };
  void append_cached(BlockIndex block);
  void remove_cached(BlockIndex block);

  PrefixCache* const cache_;
  std::vector<BlockIndex> free_;  // a stack: the block given back last is taken first, while it is still in the caches
  std::vector<std::uint32_t> ref_counts_;
  std::vector<Link> order_;  // of cached blocks
  BlockIndex first_left_ = kNone;
  BlockIndex last_left_ = kNone;
  std::size_t cached_count_ = 0;
};

}  // namespace autoglm::engine

// SPDX-License-Identifier: Apache-2.0
// Who holds which KV block. Blocks are indices into memory that the model reserved; the pool only counts. Engine thread
// only; allocates nothing after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace autoglm::engine {

using BlockIndex = std::uint32_t;

// A block is free, or held by ref_count >= 1 holders; never both. A holder is one entry of one block table.
class BlockPool final {
 public:
  explicit BlockPool(std::size_t block_count);

  /// A free block, now held once; nothing when none is left.
  std::optional<BlockIndex> take();
  /// One holder more of a held block.
  void share(BlockIndex block);
  /// One holder less; the last one frees the block.
  void give_back(BlockIndex block);

  std::size_t block_count() const { return ref_counts_.size(); }
  std::size_t free_count() const { return free_.size(); }
  std::size_t used_count() const { return block_count() - free_count(); }
  std::uint32_t ref_count(BlockIndex block) const { return ref_counts_[block]; }

  /// CHECKs that the free list and the counts tell the same story. O(blocks); tests call it after every step.
  void check_invariants() const;

 private:
  std::vector<BlockIndex> free_;  // a stack: the block given back last is taken first, while it is still in the caches
  std::vector<std::uint32_t> ref_counts_;
};

}  // namespace autoglm::engine

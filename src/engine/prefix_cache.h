// SPDX-License-Identifier: Apache-2.0
// Finds the KV of a prompt's beginning again: which blocks hold which tokens after which prefix. A block is known by
// its prefix (the serial of the entry before it, or the tenant at the beginning) and its own tokens; a hash only finds
// candidates, and what it finds is compared token by token, so a collision costs time and never an answer. Knows
// nothing of sequences and holds no block: the block pool does. Engine thread only; allocates nothing after
// construction but the names of tenants.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/block_pool.h"
#include "model/batch.h"

namespace autoglm::engine {

// Names a prefix that is, or was, in the cache. Never reused.
using PrefixSerial = std::uint64_t;

class PrefixCache final {
 public:
  /// `key` makes the hashes unpredictable: base::entropy_bits(), or a constant in tests.
  PrefixCache(std::size_t block_count, std::uint64_t key);

  /// The empty prefix of a tenant: what one tenant has computed no other one finds. Nor does a long sequence, whose
  /// keys turn by another rope, find a short one's.
  PrefixSerial root(std::string_view tenant, bool is_long = false);

  // A block whose tokens follow a prefix.
  struct Match {
    BlockIndex block = 0;
    PrefixSerial serial = 0;  // of the prefix up to the block's end; 0 for a part of a block
    std::size_t tokens = 0;
  };
  /// The block that holds exactly these kBlockTokens tokens after `prefix`.
  std::optional<Match> find(PrefixSerial prefix, std::span<const model::TokenId> tokens) const;
  /// The block after `prefix` that begins with most of `tokens`, at least with one: to be copied, as its rest differs.
  ///   Cost   looks at the kMaxSiblings newest blocks after the prefix
  std::optional<Match> find_part(PrefixSerial prefix, std::span<const model::TokenId> tokens) const;

  /// `block` holds the KV of `tokens` after `prefix`: all of a block, or its beginning. Returns the serial of what ends
  /// with it (0 for a part). The block must not be known yet, and a whole one must not be found by find().
  PrefixSerial insert(PrefixSerial prefix, std::span<const model::TokenId> tokens, BlockIndex block);
  /// Forgets a block that is to be written anew. Longer prefixes behind it can no longer be found.
  void erase(BlockIndex block);
  bool holds(BlockIndex block) const { return entries_[block].filled > 0; }

  std::size_t size() const { return size_; }
  /// CHECKs that chains and entries tell the same story. O(blocks); for tests.
  void check_invariants() const;

 private:
  static constexpr std::size_t kMaxSiblings = 16;
  static constexpr BlockIndex kNone = ~BlockIndex{0};

  // A place in a doubly linked chain of entries.
  struct Link {
    BlockIndex previous = kNone;
    BlockIndex next = kNone;
  };
  // One for each block of the pool; filled == 0 = not in the cache.
  struct Entry {
    PrefixSerial serial = 0;
    PrefixSerial parent = 0;
    std::uint32_t filled = 0;
    Link same_tokens;  // chain of by_tokens_; whole blocks only
    Link siblings;     // chain of by_parent_, newest first
    model::TokenId tokens[kBlockTokens];
  };
  using Chain = Link Entry::*;

  std::size_t bucket_of(PrefixSerial prefix) const;
  std::size_t bucket_of(PrefixSerial prefix, std::span<const model::TokenId> tokens) const;
  void push_front(std::vector<BlockIndex>& heads, std::size_t bucket, Chain chain, BlockIndex block);
  void unlink(std::vector<BlockIndex>& heads, std::size_t bucket, Chain chain, BlockIndex block);

  const std::uint64_t key_;
  std::vector<Entry> entries_;         // [block_count]
  std::vector<BlockIndex> by_tokens_;  // heads of chains; a power of two of buckets
  std::vector<BlockIndex> by_parent_;
  struct Root {
    std::string tenant;
    bool is_long = false;
    PrefixSerial serial = 0;
  };
  std::vector<Root> roots_;  // sorted by tenant, short before long
  PrefixSerial next_serial_ = 1;
  std::size_t size_ = 0;
};

}  // namespace autoglm::engine

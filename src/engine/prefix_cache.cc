// SPDX-License-Identifier: Apache-2.0
#include "engine/prefix_cache.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"
#include "base/random.h"

namespace autoglm::engine {
namespace {

// Streams of base::random_bits, so that the two kinds of chains do not share their hashes.
constexpr std::uint64_t kTokenStream = 1;
constexpr std::uint64_t kParentStream = 2;

std::size_t common_prefix(std::span<const model::TokenId> left, std::span<const model::TokenId> right) {
  const std::size_t most = std::min(left.size(), right.size());
  return static_cast<std::size_t>(std::mismatch(left.begin(), left.begin() + most, right.begin()).first - left.begin());
}

}  // namespace

PrefixCache::PrefixCache(std::size_t block_count, std::uint64_t key)
    : key_(key),
      entries_(block_count),
      by_tokens_(std::bit_ceil(block_count), kNone),
      by_parent_(std::bit_ceil(block_count), kNone) {}

PrefixSerial PrefixCache::root(std::string_view tenant, bool is_long) {
  const auto key = [](const Root& root) { return std::pair(std::string_view(root.tenant), root.is_long); };
  const std::pair wanted(tenant, is_long);
  const auto at = std::ranges::lower_bound(roots_, wanted, {}, key);
  if (at != roots_.end() && key(*at) == wanted) return at->serial;
  return roots_.insert(at, Root{std::string(tenant), is_long, next_serial_++})->serial;
}

std::size_t PrefixCache::bucket_of(PrefixSerial prefix) const {
  return base::random_bits(key_, kParentStream, prefix) & (by_parent_.size() - 1);
}

std::size_t PrefixCache::bucket_of(PrefixSerial prefix, std::span<const model::TokenId> tokens) const {
  std::uint64_t hash = base::random_bits(key_, kTokenStream, prefix);
  for (const model::TokenId token : tokens)
    hash = base::random_bits(hash, kTokenStream, static_cast<std::uint64_t>(token));
  return hash & (by_tokens_.size() - 1);
}

std::optional<PrefixCache::Match> PrefixCache::find(PrefixSerial prefix, std::span<const model::TokenId> tokens) const {
  DCHECK(tokens.size() == kBlockTokens);
  for (BlockIndex b = by_tokens_[bucket_of(prefix, tokens)]; b != kNone; b = entries_[b].same_tokens.next) {
    const Entry& entry = entries_[b];
    if (entry.parent == prefix && std::ranges::equal(entry.tokens, tokens)) return Match{b, entry.serial, kBlockTokens};
  }
  return std::nullopt;
}

std::optional<PrefixCache::Match> PrefixCache::find_part(PrefixSerial prefix,
                                                         std::span<const model::TokenId> tokens) const {
  Match best;
  std::size_t looked_at = 0;
  for (BlockIndex b = by_parent_[bucket_of(prefix)]; b != kNone && looked_at < kMaxSiblings;
       b = entries_[b].siblings.next) {
    const Entry& entry = entries_[b];
    if (entry.parent != prefix) continue;
    ++looked_at;
    const std::size_t common = common_prefix({entry.tokens, entry.filled}, tokens);
    if (common > best.tokens) best = {b, 0, common};
  }
  if (best.tokens == 0) return std::nullopt;
  return best;
}

PrefixSerial PrefixCache::insert(PrefixSerial prefix, std::span<const model::TokenId> tokens, BlockIndex block) {
  CHECK(!tokens.empty() && tokens.size() <= kBlockTokens) << tokens.size() << " tokens";
  Entry& entry = entries_[block];
  CHECK(entry.filled == 0) << "block " << block << " is in the cache already";
  const bool is_whole = tokens.size() == kBlockTokens;
  entry.serial = is_whole ? next_serial_++ : 0;
  entry.parent = prefix;
  entry.filled = static_cast<std::uint32_t>(tokens.size());
  std::ranges::copy(tokens, entry.tokens);
  push_front(by_parent_, bucket_of(prefix), &Entry::siblings, block);
  if (is_whole) push_front(by_tokens_, bucket_of(prefix, tokens), &Entry::same_tokens, block);
  ++size_;
  return entry.serial;
}

void PrefixCache::erase(BlockIndex block) {
  Entry& entry = entries_[block];
  CHECK(entry.filled > 0) << "block " << block << " is not in the cache";
  unlink(by_parent_, bucket_of(entry.parent), &Entry::siblings, block);
  if (entry.filled == kBlockTokens)
    unlink(by_tokens_, bucket_of(entry.parent, entry.tokens), &Entry::same_tokens, block);
  entry.filled = 0;
  --size_;
}

void PrefixCache::push_front(std::vector<BlockIndex>& heads, std::size_t bucket, Chain chain, BlockIndex block) {
  const BlockIndex next = heads[bucket];
  (entries_[block].*chain) = {kNone, next};
  if (next != kNone) (entries_[next].*chain).previous = block;
  heads[bucket] = block;
}

void PrefixCache::unlink(std::vector<BlockIndex>& heads, std::size_t bucket, Chain chain, BlockIndex block) {
  const Link link = entries_[block].*chain;
  if (link.previous != kNone) {
    (entries_[link.previous].*chain).next = link.next;
  } else {
    CHECK(heads[bucket] == block) << "block " << block << " is not at the head of its chain";
    heads[bucket] = link.next;
  }
  if (link.next != kNone) (entries_[link.next].*chain).previous = link.previous;
}

void PrefixCache::check_invariants() const {
  std::size_t filled = 0;
  std::size_t chained = 0;
  for (BlockIndex b = 0; b < entries_.size(); ++b) filled += holds(b) ? 1 : 0;
  for (std::size_t bucket = 0; bucket < by_parent_.size(); ++bucket) {
    BlockIndex before = kNone;
    for (BlockIndex b = by_parent_[bucket]; b != kNone; before = b, b = entries_[b].siblings.next) {
      CHECK(holds(b) && entries_[b].siblings.previous == before) << "block " << b;
      CHECK(bucket_of(entries_[b].parent) == bucket) << "block " << b;
      CHECK(++chained <= filled) << "a chain has a ring";
      if (entries_[b].filled < kBlockTokens) continue;
      const auto found = find(entries_[b].parent, entries_[b].tokens);
      CHECK(found && found->block == b) << "block " << b << " is there twice";
    }
  }
  CHECK(chained == filled && filled == size_)
      << chained << " chained, " << filled << " filled, " << size_ << " counted";
}

}  // namespace autoglm::engine

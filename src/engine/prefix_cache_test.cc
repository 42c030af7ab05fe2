// SPDX-License-Identifier: Apache-2.0
#include "engine/prefix_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/random.h"

namespace autoglm::engine {
namespace {

using Tokens = std::vector<model::TokenId>;

Tokens block_of(int first) {
  Tokens tokens(kBlockTokens);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

TEST(PrefixCache, FindsABlockOnlyAfterItsPrefix) {
  PrefixCache cache(4, 7);
  const PrefixSerial root = cache.root("a");
  const PrefixSerial first = cache.insert(root, block_of(0), 2);
  const PrefixSerial second = cache.insert(first, block_of(0), 1);
  EXPECT_NE(first, second);
  ASSERT_TRUE(cache.find(root, block_of(0)));
  EXPECT_EQ(cache.find(root, block_of(0))->block, 2u);
  EXPECT_EQ(cache.find(first, block_of(0))->block, 1u);
  EXPECT_EQ(cache.find(first, block_of(0))->serial, second);
  EXPECT_FALSE(cache.find(second, block_of(0)));
  EXPECT_FALSE(cache.find(root, block_of(1)));
  cache.check_invariants();
}

TEST(PrefixCache, TenantsDoNotMeet) {
  PrefixCache cache(4, 7);
  cache.insert(cache.root("a"), block_of(0), 0);
  EXPECT_TRUE(cache.find(cache.root("a"), block_of(0)));
  EXPECT_FALSE(cache.find(cache.root("b"), block_of(0)));
  EXPECT_FALSE(cache.find(cache.root(""), block_of(0)));
  EXPECT_FALSE(cache.find_part(cache.root("b"), block_of(0)));
}

TEST(PrefixCache, LongAndShortSequencesDoNotMeet) {
  PrefixCache cache(4, 7);
  cache.insert(cache.root("a", false), block_of(0), 0);
  EXPECT_TRUE(cache.find(cache.root("a"), block_of(0)));
  EXPECT_FALSE(cache.find(cache.root("a", true), block_of(0)));
  EXPECT_EQ(cache.root("a", true), cache.root("a", true));
}

TEST(PrefixCache, GivesTheLongestPartOfABlock) {
  PrefixCache cache(4, 7);
  const PrefixSerial root = cache.root("");
  Tokens near = block_of(0);
  near[20] = -1;
  Tokens nearer = block_of(0);
  nearer[30] = -1;
  cache.insert(root, near, 0);
  const Tokens whole = block_of(0);
  cache.insert(root, std::span(whole).first(5), 1);
  EXPECT_EQ(cache.find_part(root, block_of(0))->tokens, 20u);
  cache.insert(root, nearer, 2);
  const auto found = cache.find_part(root, block_of(0));
  EXPECT_EQ(found->block, 2u);
  EXPECT_EQ(found->tokens, 30u);
  EXPECT_EQ(cache.find_part(root, std::span(whole).first(3))->tokens, 3u);
  EXPECT_FALSE(cache.find_part(root, block_of(1)));
  cache.check_invariants();
}

TEST(PrefixCache, ForgetsWhatIsErased) {
  PrefixCache cache(4, 7);
  const PrefixSerial root = cache.root("");
  const PrefixSerial first = cache.insert(root, block_of(0), 0);
  cache.insert(first, block_of(32), 1);
  cache.erase(0);
  EXPECT_FALSE(cache.find(root, block_of(0)));
  EXPECT_EQ(cache.size(), 1u);
  // The same tokens again are another prefix: what hung on the old one stays out of reach until it is erased too.
  const PrefixSerial again = cache.insert(root, block_of(0), 2);
  EXPECT_NE(again, first);
  EXPECT_FALSE(cache.find(again, block_of(32)));
  cache.check_invariants();
}

// Against a list that is searched from end to end. One bucket for all (key and blocks are few) makes chains long.
TEST(PrefixCache, AgreesWithAPlainList) {
  struct Known {
    PrefixSerial parent;
    Tokens tokens;
    BlockIndex block;
    PrefixSerial serial;
  };
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    base::Random random(seed);
    constexpr std::size_t kBlocks = 12;
    PrefixCache cache(kBlocks, seed);
    std::vector<Known> list;
    std::vector<PrefixSerial> prefixes = {cache.root("a"), cache.root("b")};
    for (int step = 0; step < 400; ++step) {
      const PrefixSerial prefix = prefixes[random.below(prefixes.size())];
      Tokens tokens = block_of(static_cast<int>(random.below(3)));
      tokens.resize(random.below(3) == 0 ? 1 + random.below(kBlockTokens - 1) : kBlockTokens);
      const auto same = std::ranges::find_if(
          list, [&](const Known& known) { return known.parent == prefix && known.tokens == tokens; });
      if (tokens.size() == kBlockTokens) {
        const auto found = cache.find(prefix, tokens);
        ASSERT_EQ(found.has_value(), same != list.end()) << "seed " << seed;
        if (found) ASSERT_EQ(found->block, same->block) << "seed " << seed;
      }
      const auto block = static_cast<BlockIndex>(random.below(kBlocks));
      if (cache.holds(block)) {
        cache.erase(block);
        std::erase_if(list, [&](const Known& known) { return known.block == block; });
      } else if (same == list.end()) {
        const PrefixSerial serial = cache.insert(prefix, tokens, block);
        list.push_back({prefix, tokens, block, serial});
        if (serial != 0) prefixes.push_back(serial);
      }
      cache.check_invariants();
    }
  }
}

}  // namespace
}  // namespace autoglm::engine

// SPDX-License-Identifier: Apache-2.0
#include "engine/block_pool.h"

#include <gtest/gtest.h>

#include <set>

#include "engine/prefix_cache.h"

namespace autoglm::engine {
namespace {

TEST(BlockPool, HandsOutEachBlockOnceAndThenNone) {
  BlockPool pool(5);
  std::set<BlockIndex> taken;
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(taken.insert(pool.take().value()).second);
  EXPECT_EQ(*taken.rbegin(), 4u);
  EXPECT_FALSE(pool.take().has_value());
  EXPECT_EQ(pool.used_count(), 5u);
  pool.check_invariants();
}

TEST(BlockPool, ASharedBlockIsFreeWhenTheLastHolderGivesItBack) {
  BlockPool pool(2);
  const BlockIndex block = pool.take().value();
  pool.share(block);
  EXPECT_EQ(pool.ref_count(block), 2u);
  pool.give_back(block);
  EXPECT_EQ(pool.free_count(), 1u);
  pool.give_back(block);
  EXPECT_EQ(pool.free_count(), 2u);
  pool.check_invariants();
}

TEST(BlockPool, TheBlockGivenBackLastIsTakenFirst) {
  BlockPool pool(3);
  const BlockIndex first = pool.take().value();
  pool.take().value();
  pool.give_back(first);
  EXPECT_EQ(pool.take().value(), first);
}

TEST(BlockPool, CachedBlocksAreTakenLastAndInTheOrderOfLeaving) {
  PrefixCache cache(4, 1);
  BlockPool pool(4, &cache);
  const model::TokenId tokens[] = {1, 2, 3, 4};
  BlockIndex blocks[4];
  for (int i = 0; i < 4; ++i) {
    blocks[i] = pool.take().value();
    if (i > 0) cache.insert(cache.root(""), std::span(tokens).first(i), blocks[i]);
  }
  for (const int i : {2, 1, 3, 0}) pool.give_back(blocks[i]);
  EXPECT_EQ(pool.cached_count(), 3u);
  EXPECT_EQ(pool.free_count(), 4u);
  pool.share(blocks[1]);
  pool.check_invariants();
  EXPECT_EQ(pool.take().value(), blocks[0]) << "the free one first";
  EXPECT_EQ(pool.take().value(), blocks[2]);
  EXPECT_FALSE(cache.holds(blocks[2]));
  EXPECT_EQ(pool.take().value(), blocks[3]);
  EXPECT_FALSE(pool.take().has_value()) << "the last one is held";
  EXPECT_TRUE(cache.holds(blocks[1]));
  pool.check_invariants();
}

TEST(BlockPoolDeathTest, GivingBackOrSharingWhatIsNotHeldIsABug) {
  BlockPool pool(2);
  const BlockIndex block = pool.take().value();
  pool.give_back(block);
  EXPECT_DEATH(pool.give_back(block), "not held");
  EXPECT_DEATH(pool.share(block), "is free");
  EXPECT_DEATH(pool.give_back(7), "not held");
}

}  // namespace
}  // namespace autoglm::engine

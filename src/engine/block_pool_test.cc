// SPDX-License-Identifier: Apache-2.0
#include "engine/block_pool.h"

#include <gtest/gtest.h>

#include <set>

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

TEST(BlockPoolDeathTest, GivingBackOrSharingWhatIsNotHeldIsABug) {
  BlockPool pool(2);
  const BlockIndex block = pool.take().value();
  pool.give_back(block);
  EXPECT_DEATH(pool.give_back(block), "not held");
  EXPECT_DEATH(pool.share(block), "not held");
  EXPECT_DEATH(pool.give_back(7), "not held");
}

}  // namespace
}  // namespace autoglm::engine

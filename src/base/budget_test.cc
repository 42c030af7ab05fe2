// SPDX-License-Identifier: Apache-2.0
#include "base/budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace autoglm::base {
namespace {

TEST(Budget, IsSpentExactly) {
  Budget budget({.bytes = 10, .steps = 3, .depth = 2});
  EXPECT_TRUE(budget.take_bytes(4, "a"));
  EXPECT_TRUE(budget.take_bytes(6, "a"));
  EXPECT_TRUE(budget.take_bytes(0, "a"));
  EXPECT_FALSE(budget.take_bytes(1, "a"));
  EXPECT_TRUE(budget.take_steps(3, "b"));
  EXPECT_FALSE(budget.take_steps(1, "b"));
  EXPECT_EQ(budget.left().bytes, 0u);
  EXPECT_EQ(budget.left().steps, 0u);
}

TEST(Budget, AHugeWishDoesNotWrap) {
  Budget budget({.bytes = 10, .steps = 10, .depth = 1});
  EXPECT_FALSE(budget.take_bytes(std::numeric_limits<std::uint64_t>::max(), "a"));
  EXPECT_FALSE(budget.take_steps(std::numeric_limits<std::uint64_t>::max(), "a"));
}

TEST(Budget, DepthIsGivenBack) {
  Budget budget({.bytes = 1, .steps = 1, .depth = 2});
  EXPECT_TRUE(budget.enter("c"));
  EXPECT_TRUE(budget.enter("c"));
  EXPECT_FALSE(budget.enter("c"));
  budget.leave();
  EXPECT_TRUE(budget.enter("c"));
}

TEST(Budget, TheErrorNamesWhatWasTooLarge) {
  Budget budget({.bytes = 1, .steps = 1, .depth = 0});
  for (const Status& status :
       {budget.take_bytes(2, "the header"), budget.take_steps(2, "the header"), budget.enter("the header")}) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, Code::kExhausted);
    EXPECT_THAT(status.error().message, testing::HasSubstr("the header"));
  }
}

}  // namespace
}  // namespace autoglm::base

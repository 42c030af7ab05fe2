// SPDX-License-Identifier: Apache-2.0
#include "app/table_style.h"

#include <gtest/gtest.h>

namespace autoglm::app {
namespace {

TEST(Bar, IsFilledToAnEighthOfACell) {
  EXPECT_EQ(bar(0, 4), "    ");
  EXPECT_EQ(bar(0.5, 4), "██  ");
  EXPECT_EQ(bar(1.0 / 32, 4), "▏   ");
  EXPECT_EQ(bar(1, 4), "████");
}

TEST(Bar, StaysWithinItsCells) {
  EXPECT_EQ(bar(7, 3), "███");
  EXPECT_EQ(bar(-1, 3), "   ");
}

}  // namespace
}  // namespace autoglm::app

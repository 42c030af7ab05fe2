// SPDX-License-Identifier: Apache-2.0
#include "app/table_style.h"

#include <gtest/gtest.h>

namespace autoglm::app {
namespace {

std::string spaces(std::size_t count) { return std::string(count, ' '); }

TEST(ShareBar, IsFilledToAnEighthOfACell) {
  EXPECT_EQ(share_bar(0), spaces(20));
  EXPECT_EQ(share_bar(0.1), "██" + spaces(18));
  EXPECT_EQ(share_bar(1.0 / 160), "▏" + spaces(19));
}

TEST(ShareBar, StaysWithinItsCells) {
  EXPECT_EQ(share_bar(7), share_bar(1));
  EXPECT_EQ(share_bar(-1), spaces(20));
}

}  // namespace
}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
#include "base/shell.h"

#include <gtest/gtest.h>

namespace autoglm::base {
namespace {

TEST(Shell, AWordStandsInSingleQuotes) {
  EXPECT_EQ(shell_quoted(""), "''");
  EXPECT_EQ(shell_quoted("a b $c `d` \"e\" \\"), "'a b $c `d` \"e\" \\'");
  EXPECT_EQ(shell_quoted("it's"), R"('it'\''s')");
  EXPECT_EQ(shell_quoted("''"), R"(''\'''\''')");
}

}  // namespace
}  // namespace autoglm::base

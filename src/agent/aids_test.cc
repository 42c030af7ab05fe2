// SPDX-License-Identifier: Apache-2.0
#include "agent/aids.h"

#include <gmock/gmock.h>

namespace autoglm::agent {
namespace {

TEST(AidsTest, AllAndNone) {
  EXPECT_TRUE(parse_aids("all")->narrow);
  EXPECT_TRUE(parse_aids("all")->failures);
  EXPECT_FALSE(parse_aids("none")->narrow);
  EXPECT_FALSE(parse_aids("none")->failures);
}

TEST(AidsTest, AList) {
  const Aids aids = *parse_aids("repeats,narrow");
  EXPECT_TRUE(aids.repeats);
  EXPECT_TRUE(aids.narrow);
  EXPECT_FALSE(aids.sources);
  EXPECT_FALSE(aids.lists);
  EXPECT_FALSE(aids.reasoning);
  EXPECT_FALSE(aids.failures);
}

TEST(AidsTest, WhatIsNoneIsNamed) {
  for (const char* list : {"", "narrow,", "narrow, sources", "all,narrow", "voting"}) {
    const auto aids = parse_aids(list);
    ASSERT_FALSE(aids) << list;
    EXPECT_THAT(aids.error().message,
                testing::HasSubstr("narrow, sources, repeats, lists, reasoning, check, failures"));
  }
}

}  // namespace
}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
#include "engine/stop.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace autoglm::engine {
namespace {

TEST(StopText, WithoutStopStringsEverythingPasses) {
  StopText stop({});
  EXPECT_EQ(stop.push("abc"), "abc");
  EXPECT_EQ(stop.finish(), "");
}

TEST(StopText, HoldsBackWhatMayBeginAStopString) {
  StopText stop({"END"});
  EXPECT_EQ(stop.push("the E"), "the ");
  EXPECT_EQ(stop.push("N"), "");
  EXPECT_EQ(stop.push("T"), "ENT");
  EXPECT_EQ(stop.push("EN"), "");
  EXPECT_FALSE(stop.is_matched());
  EXPECT_EQ(stop.finish(), "EN") << "the text ended before the stop string did";
}

TEST(StopText, DropsTheStopStringAndAllAfterIt) {
  StopText stop({"END"});
  EXPECT_EQ(stop.push("x ENDy"), "x ");
  EXPECT_TRUE(stop.is_matched());
  EXPECT_EQ(stop.push("more"), "");
  EXPECT_EQ(stop.finish(), "");
}

TEST(StopText, TheFirstToBeCompleteWinsAndOfThoseTheLongest) {
  StopText first({"bcd", "c"});
  EXPECT_EQ(first.push("abcd"), "ab") << "c is complete before bcd";
  StopText longest({"d", "bcd"});
  EXPECT_EQ(longest.push("abcd"), "a");
}

TEST(StopText, AFalseStartMayHoldTheTrueOne) {
  StopText stop({"aab"});
  EXPECT_EQ(stop.push("aaa"), "a");
  EXPECT_EQ(stop.push("b"), "");
  EXPECT_TRUE(stop.is_matched());
}

TEST(StopText, HowTheTextIsCutNeverMatters) {
  base::Random random(7);
  for (int round = 0; round < 500; ++round) {
    SCOPED_TRACE(round);
    std::vector<std::string> stops(1 + random.below(3));
    for (std::string& stop : stops) {
      for (std::size_t n = 1 + random.below(4); n > 0; --n) stop += static_cast<char>('a' + random.below(2));
    }
    std::string text;
    for (std::size_t n = random.below(30); n > 0; --n) text += static_cast<char>('a' + random.below(3));
    StopText whole(stops);
    const std::string expected = whole.push(text) + whole.finish();
    StopText pieces(stops);
    std::string got;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t n = 1 + random.below(4);
      got += pieces.push(std::string_view(text).substr(at, n));
      at += n;
    }
    got += pieces.finish();
    EXPECT_EQ(got, expected) << text;
    EXPECT_EQ(pieces.is_matched(), whole.is_matched());
    for (const std::string& stop : stops) EXPECT_EQ(got.find(stop), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace autoglm::engine

// SPDX-License-Identifier: Apache-2.0
#include "app/terminal.h"

#include <gtest/gtest.h>

namespace autoglm::app {
namespace {

TEST(Terminal, Sizes) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1000), "1.0 kB");
  EXPECT_EQ(format_bytes(98'362'432), "98.4 MB");
  EXPECT_EQ(format_bytes(1'117'320'768), "1.12 GB");
}

TEST(Terminal, Durations) {
  EXPECT_EQ(format_duration(std::chrono::seconds(7)), "0:07");
  EXPECT_EQ(format_duration(std::chrono::seconds(750)), "12:30");
  EXPECT_EQ(format_duration(std::chrono::seconds(3723)), "1:02:03");
}

TEST(Terminal, ALineIsCutBetweenCharacters) {
  EXPECT_EQ(first_columns("abc", 3), "abc");
  EXPECT_EQ(first_columns("abcd", 3), "abc");
  EXPECT_EQ(first_columns("abc", 0), "");
  EXPECT_EQ(first_columns("\u00e4\u00f6\u00fc", 2), "\u00e4\u00f6");
  EXPECT_EQ(first_columns("a\u4e16\u754c", 5), "a\u4e16\u754c");
  EXPECT_EQ(first_columns("a\u4e16\u754c", 4), "a\u4e16");
  EXPECT_EQ(first_columns("\xff\xff\xff", 2), "\xff\xff");
  EXPECT_EQ(first_columns("a\xe4\xb8", 9), "a\xe4\xb8");
}

TEST(Terminal, LinesThatATextTakes) {
  EXPECT_EQ(least_lines("", 3), 1u);
  EXPECT_EQ(least_lines("abc", 3), 1u);
  EXPECT_EQ(least_lines("abcd", 3), 2u);
  EXPECT_EQ(least_lines("\u00e4\u00f6\u00fc\u00df", 2), 2u);
  EXPECT_EQ(least_lines("\u4e16\u754c", 2), 1u);
}

TEST(Terminal, ProgressFitsItsLine) {
  for (int columns = 0; columns < 200; ++columns) {
    for (const std::uint64_t done : {0ull, 1ull, 500ull, 1000ull, 2000ull}) {
      const std::string line = ProgressLine::format(done * 1'000'000, 1'000'000'000, 5e6, columns);
      if (columns > 60) EXPECT_LT(line.size(), static_cast<std::size_t>(columns)) << line;
      EXPECT_NE(line.find(" of 1.00 GB"), std::string::npos);
    }
  }
  EXPECT_EQ(ProgressLine::format(50, 100, 10, 0), " 50 %  50 B of 100 B  10 B/s  0:05 left");
  EXPECT_EQ(ProgressLine::format(50, 0, 10, 0), "50 B  10 B/s");
  EXPECT_EQ(ProgressLine::format(100, 100, 10, 0), "100 %  100 B of 100 B  10 B/s");
}

}  // namespace
}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
#include "agent/result_lines.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/utf8.h"

namespace autoglm::agent {
namespace {

Result<std::size_t> quarter(std::string_view text) { return (text.size() + 3) / 4; }

TEST(ResultLinesTest, LinesAreThoseOfTheText) {
  const ResultLines lines("one\ntwo\n\nfour");
  ASSERT_EQ(lines.count(), 4u);
  EXPECT_EQ(lines.line(1), "one");
  EXPECT_EQ(lines.line(3), "");
  EXPECT_EQ(lines.line(4), "four");
  EXPECT_EQ(lines.lines(2, 2), "two\n\n");
  EXPECT_EQ(lines.lines(2, 0), "");
  EXPECT_EQ(ResultLines("").count(), 0u);
  EXPECT_EQ(ResultLines("\n").count(), 1u);
  EXPECT_EQ(ResultLines("a\n").count(), 1u);
}

TEST(ResultLinesTest, FittingCountsWholeLines) {
  const ResultLines lines("one\ntwo\n\nfour");
  EXPECT_EQ(lines.fitting(1, 3), 0u);
  EXPECT_EQ(lines.fitting(1, 4), 1u);
  EXPECT_EQ(lines.fitting(1, 9), 3u);
  EXPECT_EQ(lines.fitting(2, 5), 2u);
  EXPECT_EQ(lines.fitting(1, 1000), 4u);
  EXPECT_EQ(lines.fitting(4, 4), 1u);
}

TEST(ResultLinesTest, LongLinesAreCutBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "世";
  const ResultLines lines(text);
  ASSERT_EQ(lines.count(), 16u);  // 66 characters of 3 bytes each
  std::string joined;
  for (std::size_t i = 1; i <= lines.count(); ++i) {
    EXPECT_LE(lines.line(i).size(), ResultLines::kMaxLineBytes);
    EXPECT_TRUE(base::is_utf8(lines.line(i)));
    joined += lines.line(i);
  }
  EXPECT_EQ(joined, text);
}

TEST(ClipResultTest, WhatFitsStaysWhole) {
  EXPECT_EQ(*clip_result("", 1, 0, quarter), "");
  EXPECT_EQ(*clip_result("short", 1, 64, quarter), "short");
  const std::string text(256, 'x');
  EXPECT_EQ(*clip_result(text, 1, 64, quarter), text);
}

TEST(ClipResultTest, TheRestIsNamed) {
  std::string text;
  for (int i = 1; i <= 300; ++i) text += "line " + std::to_string(i) + "\n";
  const std::string clipped = *clip_result(text, 7, 128, quarter);
  EXPECT_LE(*quarter(clipped), 128u);
  EXPECT_GE(*quarter(clipped), 96u);  // the share is used
  ASSERT_TRUE(clipped.starts_with("line 1\nline 2\n"));
  const std::size_t notice = clipped.find('[');
  const ResultLines shown(std::string_view(clipped).substr(0, notice));
  EXPECT_NE(clipped.find("[" + std::to_string(shown.count()) + " of 300 lines are shown."), std::string::npos);
  EXPECT_NE(clipped.find("{\"step\": 7, \"from_line\": " + std::to_string(shown.count() + 1) + "}"), std::string::npos);
}

TEST(ClipResultTest, AnyTextStaysWellFormedAndWithinItsShare) {
  base::Random random(5);
  for (int i = 0; i < 500; ++i) {
    std::string text;
    const std::string_view pieces[] = {"a", " ", "\n", "世", "\xF0\x9F\x98\x80", "0123456789", "<|im_end|>", "\r\n"};
    const std::uint64_t kinds = 1 + random.below(8);
    for (std::uint64_t n = random.below(4000); n > 0; --n) text += pieces[random.below(kinds)];
    const std::size_t most = 64 + random.below(500);
    const std::size_t bytes_a_token = 1 + random.below(9);
    const auto count = [&](std::string_view part) -> Result<std::size_t> { return part.size() / bytes_a_token + 1; };
    const std::string clipped = *clip_result(text, 1, most, count);
    EXPECT_TRUE(base::is_utf8(clipped));
    if (clipped == text) continue;
    // With a byte a token the sentence alone is more than the least share.
    EXPECT_TRUE(*count(clipped) <= most || clipped.starts_with("[0 of ")) << clipped.size();
    EXPECT_TRUE(clipped.ends_with("stands for all of them.]"));
  }
}

TEST(ClipResultTest, ALongTextIsNotCountedWhole) {
  std::size_t counted = 0;
  const auto count = [&](std::string_view part) -> Result<std::size_t> {
    counted += part.size();
    return quarter(part);
  };
  ASSERT_TRUE(clip_result(std::string(10 << 20, 'x'), 1, 1000, count));
  EXPECT_LT(counted, 20'000u);
  const auto broken = [](std::string_view) -> Result<std::size_t> { return fail(Code::kInternal, "no"); };
  EXPECT_EQ(clip_result(std::string(100, 'x'), 1, 64, broken).error().code, Code::kInternal);
}

}  // namespace
}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace autoglm::base {
namespace {

using Kind = Utf8Step::Kind;

void expect_step(std::string_view text, Kind kind, std::size_t size) {
  const Utf8Step step = utf8_step(text);
  EXPECT_EQ(step.kind, kind) << testing::PrintToString(text);
  EXPECT_EQ(step.size, size) << testing::PrintToString(text);
}

// Encodes by arithmetic alone, surrogates and all, so that the reader is judged by something else than itself.
std::string encode(std::uint32_t point) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | ((point >> shift) & 0x3F)); };
  if (point < 0x80) return {static_cast<char>(point)};
  if (point < 0x800) return {static_cast<char>(0xC0 | (point >> 6)), tail(0)};
  if (point < 0x10000) return {static_cast<char>(0xE0 | (point >> 12)), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | (point >> 18)), tail(12), tail(6), tail(0)};
}

TEST(Utf8, EveryScalarValueIsACharacterAndEveryCutIsIncomplete) {
  for (std::uint32_t point = 0; point < 0x110000; ++point) {
    const std::string text = encode(point);
    const bool surrogate = point >= 0xD800 && point < 0xE000;
    ASSERT_EQ(is_utf8(text), !surrogate) << point;
    if (surrogate || point % 101 != 0) continue;
    for (std::size_t cut = 1; cut < text.size(); ++cut) expect_step(text.substr(0, cut), Kind::kIncomplete, cut);
    expect_step(text + "x", Kind::kCharacter, text.size());
  }
}

TEST(Utf8, IllFormedSequencesGiveMaximalSubparts) {
  expect_step("\x80", Kind::kIllFormed, 1);
  expect_step("\xC0\xAF", Kind::kIllFormed, 1);          // overlong
  expect_step("\xE0\x9F\x80", Kind::kIllFormed, 1);      // overlong
  expect_step("\xED\xA0\x80", Kind::kIllFormed, 1);      // surrogate
  expect_step("\xF4\x90\x80\x80", Kind::kIllFormed, 1);  // above U+10FFFF
  expect_step("\xF5", Kind::kIllFormed, 1);
  expect_step("\xE4\xBDx", Kind::kIllFormed, 2);  // two good bytes, then another character
  expect_step("\xF0\x9F\x98\xF0", Kind::kIllFormed, 3);
  EXPECT_FALSE(is_utf8("ok \xE4\xBD"));
  EXPECT_TRUE(is_utf8(""));
}

}  // namespace
}  // namespace autoglm::base

// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <gtest/gtest.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <random>

namespace autoglm::json {
namespace {

Result<Value> read(std::string_view text, base::Budget::Limits limits = {}) {
  base::Budget budget(limits);
  return parse(text, budget);
}

Code code_of(std::string_view text, base::Budget::Limits limits = {}) {
  const auto value = read(text, limits);
  EXPECT_FALSE(value) << text;
  return value ? Code::kInternal : value.error().code;
}

std::string number(double value) {
  std::string out;
  append_number(out, value);
  return out;
}

TEST(Json, KeepsKeyOrderAndKinds) {
  const std::string text = R"({"z":1,"a":-2,"m":18446744073709551615,"d":1.0,"n":null,"t":true,"s":"é\n","l":[[],{}]})";
  const auto value = read(text);
  ASSERT_TRUE(value) << value.error().message;
  EXPECT_EQ(format(*value), text);
  const Object& object = value->as_object();
  EXPECT_TRUE(object.at("z").is_int64());
  EXPECT_TRUE(object.at("m").is_uint64());
  EXPECT_TRUE(object.at("d").is_double());
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const std::string_view text : {"",
                                      " ",
                                      "{",
                                      "[1,]",
                                      "{\"a\":1,}",
                                      "{'a':1}",
                                      "nul",
                                      "1 2",
                                      "{} x",
                                      "\"\x01\"",
                                      "\"\\x\"",
                                      "\"\\ud800\"",
                                      "01",
                                      "+1",
                                      "1.",
                                      ".5",
                                      "NaN",
                                      "Infinity",
                                      "1e999",
                                      "\"\xff\"",
                                      "\"\xed\xa0\x80\"",
                                      "// c\n1",
                                      "\xEF\xBB\xBF{} x",
                                      "{\"a\" 1}",
                                      "[1 2]"}) {
    EXPECT_EQ(code_of(text), Code::kInvalidArgument) << text;
  }
}

TEST(Json, AnErrorNamesItsPlace) {
  const auto value = read("{\"a\": tru}");
  ASSERT_FALSE(value);
  EXPECT_NE(value.error().message.find("at byte 6"), std::string::npos) << value.error().message;
}

TEST(Json, RefusesDuplicateKeysAtAnyDepth) {
  EXPECT_EQ(code_of(R"({"a":1,"a":1})"), Code::kInvalidArgument);
  EXPECT_EQ(code_of(R"([{"x":{"a":1,"b":2,"\u0061":3}}])"), Code::kInvalidArgument);
  EXPECT_TRUE(read(R"({"a":{"a":1},"b":{"a":1}})"));
}

TEST(Json, DepthIsBoundedExactly) {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(read(nested(64), {.depth = 64}));
  EXPECT_EQ(code_of(nested(65), {.depth = 64}), Code::kExhausted);
  EXPECT_EQ(code_of(nested(1'000'000), {.depth = 1'000'000}), Code::kExhausted);
  EXPECT_EQ(code_of(std::string(1'000'000, '['), {.depth = 64}), Code::kInvalidArgument);  // never closed
}

TEST(Json, BytesAndStepsAreBoundedExactly) {
  EXPECT_TRUE(read("[1,2]", {.bytes = 5}));
  EXPECT_EQ(code_of("[1,2]", {.bytes = 4}), Code::kExhausted);
  EXPECT_TRUE(read("[1,2]", {.steps = 3}));
  EXPECT_EQ(code_of("[1,2]", {.steps = 2}), Code::kExhausted);
}

TEST(Json, TheBudgetGetsItsDepthBack) {
  base::Budget budget({.depth = 2});
  ASSERT_TRUE(parse("[[1],[2]]", budget));
  EXPECT_EQ(budget.left().depth, 2u);
  ASSERT_FALSE(parse("[[1],[[2]]]", budget));
  EXPECT_EQ(budget.left().depth, 2u);
}

TEST(Json, DoublesAreShortest) {
  EXPECT_EQ(number(0.7), "0.7");
  EXPECT_EQ(number(1), "1.0");
  EXPECT_EQ(number(-0.0), "-0.0");
  EXPECT_EQ(number(100000), "100000.0");
  EXPECT_EQ(number(1e16), "1e+16");
  EXPECT_EQ(number(0.0001), "0.0001");
  EXPECT_EQ(number(0.00001), "1e-05");
  EXPECT_EQ(number(std::numeric_limits<double>::quiet_NaN()), "null");
  EXPECT_EQ(number(-std::numeric_limits<double>::infinity()), "null");
}

TEST(Json, RandomDoublesReadBackEqual) {
  constexpr unsigned kSeed = 20260;
  std::mt19937_64 random(kSeed);
  for (int i = 0; i < 100'000; ++i) {
    const auto value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    const auto read_back = read(number(value));
    ASSERT_TRUE(read_back) << "seed " << kSeed << ": " << number(value);
    ASSERT_TRUE(read_back->is_double()) << "seed " << kSeed << ": " << number(value);
    ASSERT_EQ(std::bit_cast<std::uint64_t>(read_back->get_double()), std::bit_cast<std::uint64_t>(value))
        << "seed " << kSeed;
  }
}

TEST(Json, StringsAreEscapedAndMended) {
  std::string out;
  append_string(out, std::string_view("a\"\\\b\f\n\r\t\x01\x1f\x7f/\0é<", 16));
  EXPECT_EQ(out, "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7f/\\u0000é<\"");
  out.clear();
  append_string(out, "x\xE4\xBDy\xFFz\xF0\x9F");
  EXPECT_EQ(out, "\"x\xEF\xBF\xBDy\xEF\xBF\xBDz\xEF\xBF\xBD\"");
}

TEST(Json, PointersAreEscaped) {
  EXPECT_EQ(pointer_to("", "a"), "/a");
  EXPECT_EQ(pointer_to("/a", "x/y~z"), "/a/x~1y~0z");
}

}  // namespace
}  // namespace autoglm::json

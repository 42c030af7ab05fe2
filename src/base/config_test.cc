// SPDX-License-Identifier: Apache-2.0
#include "base/config.h"

#include <gtest/gtest.h>

#include <string>

namespace autoglm::base {
namespace {

TEST(Config, ReadsEveryKindOfValue) {
  auto parsed = parse_toml(
      "text = \"a\"\nwhole = 7\nreal = 0.5\nyes = true\nday = 2026-01-02\nlist = [1, 2]\n[table]\ninner = \"b\"\n",
      "t");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->at("text").as_string(), "a");
  EXPECT_EQ(parsed->at("whole").as_int64(), 7);
  EXPECT_DOUBLE_EQ(parsed->at("real").as_double(), 0.5);
  EXPECT_TRUE(parsed->at("yes").as_bool());
  EXPECT_EQ(parsed->at("day").as_string(), "2026-01-02");
  EXPECT_EQ(parsed->at("list").as_array().size(), 2u);
  EXPECT_EQ(parsed->at("table").as_object().at("inner").as_string(), "b");
}

TEST(Config, RefusalsNameThePlace) {
  auto broken = parse_toml("good = 1\nbad = = 2\n", "my.toml");
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, Code::kInvalidArgument);
  EXPECT_NE(broken.error().message.find("my.toml"), std::string::npos);
  EXPECT_NE(broken.error().message.find("line 2"), std::string::npos);
  EXPECT_FALSE(parse_toml("twice = 1\ntwice = 2\n", "t"));
  EXPECT_FALSE(parse_toml("text = \"\xff\xfe\"\n", "t"));
  EXPECT_FALSE(parse_toml("deep = " + std::string(100'000, '['), "t"));
}

TEST(Config, BoundOnTheSize) {
  const std::string comment = "#" + std::string((1u << 20) - 2, 'x') + "\n";
  EXPECT_TRUE(parse_toml(comment, "t"));
  auto over = parse_toml(comment + "\n", "t");
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().code, Code::kExhausted);
}

}  // namespace
}  // namespace autoglm::base

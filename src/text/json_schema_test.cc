// SPDX-License-Identifier: Apache-2.0
#include "text/json_schema.h"

#include <gtest/gtest.h>

namespace autoglm::text {
namespace {

json::Value value_of(std::string_view text) {
  base::Budget budget;
  return json::parse(text, budget).value();
}

TEST(JsonSchema, ArgumentsThatFitAndThatDoNot) {
  const auto schema = JsonSchema::parse(R"({"type":"object","properties":{"path":{"type":"string","minLength":1},
      "mode":{"enum":["r","w"]}},"required":["path"],"additionalProperties":false})");
  ASSERT_TRUE(schema) << schema.error().message;
  EXPECT_TRUE((*schema)->validate(value_of(R"({"path":"a","mode":"r"})")));
  const auto wrong_mode = (*schema)->validate(value_of(R"({"path":"a","mode":"x"})"));
  ASSERT_FALSE(wrong_mode);
  EXPECT_EQ(wrong_mode.error().code, Code::kInvalidArgument);
  EXPECT_EQ(wrong_mode.error().where, "/mode");
  const auto missing = (*schema)->validate(value_of(R"({"file":"a"})"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().where, "");
  EXPECT_NE(missing.error().message.find("path"), std::string::npos) << missing.error().message;
  EXPECT_NE(missing.error().message.find("file"), std::string::npos) << missing.error().message;
}

TEST(JsonSchema, NumbersKeepTheirKind) {
  const auto schema = JsonSchema::parse(R"({"type":"integer","maximum":18446744073709551615})");
  ASSERT_TRUE(schema);
  EXPECT_TRUE((*schema)->validate(value_of("18446744073709551615")));
  EXPECT_TRUE((*schema)->validate(value_of("3.0")));
  EXPECT_FALSE((*schema)->validate(value_of("3.5")));
}

TEST(JsonSchema, WhatIsNoSchemaIsRefusedWithItsPlace) {
  const auto bad = JsonSchema::parse(R"({"properties":{"a":{"type":7}}})");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, Code::kInvalidArgument);
  EXPECT_EQ(bad.error().where, "/properties/a/type");
  EXPECT_FALSE(JsonSchema::parse("not JSON"));
  EXPECT_FALSE(JsonSchema::parse(R"({"$ref":"https://example.com/other.json"})"));
}

TEST(JsonSchema, T_C1_HostileSchemasAreBounded) {
  EXPECT_EQ(JsonSchema::parse(R"({"$ref":"#"})").error().code, Code::kInvalidArgument);
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  EXPECT_FALSE(JsonSchema::parse(R"({"enum":)" + deep + "}"));
  // Each level of the value doubles the work.
  const auto twice =
      JsonSchema::parse(R"({"allOf":[{"properties":{"a":{"$ref":"#"}}},{"properties":{"a":{"$ref":"#"}}}]})");
  ASSERT_TRUE(twice);
  std::string nested = "{}";
  for (int i = 0; i < 60; ++i) nested = R"({"a":)" + nested + "}";
  EXPECT_EQ((*twice)->validate(value_of(nested)).error().code, Code::kExhausted) << "its steps are counted";
}

}  // namespace
}  // namespace autoglm::text

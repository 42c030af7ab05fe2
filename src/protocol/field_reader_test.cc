// SPDX-License-Identifier: Apache-2.0
#include "protocol/field_reader.h"

#include <gtest/gtest.h>

namespace autoglm::protocol {
namespace {

json::Object object_of(std::string_view text) {
  base::Budget budget;
  return json::parse(text, budget).value().as_object();
}

TEST(FieldReader, ErrorsSayWhatWasExpectedWhatCameAndWhere) {
  const json::Object object = object_of(
      R"({"n": 99, "s": "a", "long": "0123456789012345678901234567", "list": [1, 2], "object": {}, "yes": true})");
  FieldReader fields(object, "request");
  const auto message_of = [&](std::string_view name) { return fields.integer(name, 1, 32).error().message; };
  const std::string expected = " must be a whole number from 1 to 32; it is ";
  EXPECT_EQ(message_of("n"), "request.n" + expected + "99");
  EXPECT_EQ(message_of("s"), "request.s" + expected + "\"a\"");
  EXPECT_EQ(message_of("long"), "request.long" + expected + "a string of 28 bytes");
  EXPECT_EQ(message_of("list"), "request.list" + expected + "a list of 2");
  EXPECT_EQ(message_of("object"), "request.object" + expected + "an object");
  EXPECT_EQ(message_of("yes"), "request.yes" + expected + "true");
  EXPECT_EQ(fields.integer("n", 1, 32).error().where, "request.n");
  EXPECT_EQ(fields.wrong("absent", "a string").error().message, "request.absent must be a string");
  EXPECT_EQ(fields.wrong("", "smaller").error().message, "request must be smaller");
}

}  // namespace
}  // namespace autoglm::protocol

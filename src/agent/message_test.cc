// SPDX-License-Identifier: Apache-2.0
#include "agent/message.h"

#include <gtest/gtest.h>

namespace autoglm::agent {
namespace {

TEST(MessageTest, CallsAndResultsHaveTheirChatForm) {
  ActionCall call;
  call.id = "call_1";
  call.tool = "read";
  call.arguments = {{"path", "a"}, {"depth", 1.0}};
  EXPECT_EQ(json::format(assistant_message("", {call})),
            R"({"role":"assistant","content":"","tool_calls":[{"id":"call_1","type":"function",)"
            R"("function":{"name":"read","arguments":{"path":"a","depth":1.0}}}]})");
  EXPECT_EQ(json::format(assistant_message("done", {})), R"({"role":"assistant","content":"done"})");
  EXPECT_EQ(json::format(tool_message(call, "text")),
            R"({"role":"tool","tool_call_id":"call_1","name":"read","content":"text"})");
  EXPECT_EQ(json::format(system_message("s")), R"({"role":"system","content":"s"})");
  EXPECT_EQ(json::format(user_message("u")), R"({"role":"user","content":"u"})");
}

TEST(MessageTest, WhatIsWrittenIsRead) {
  ActionCall call;
  call.id = "call_7";
  call.tool = "add";
  call.arguments = {{"a", 1}, {"b", json::Array{1, "x"}}};
  const json::Object message = assistant_message("I add.", {call, call});
  EXPECT_EQ(role_of(message), "assistant");
  EXPECT_EQ(content_of(message), "I add.");
  const auto calls = calls_of(message);
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[1].id, "call_7");
  EXPECT_EQ(calls[1].tool, "add");
  EXPECT_EQ(calls[1].arguments, call.arguments);
  EXPECT_TRUE(calls_of(user_message("x")).empty());
}

// Stored messages come from a file, which may have been written by anything.
// Who takes a run up again must not run half a call.
TEST(MessageTest, ACallThatIsNoneStaysOne) {
  ActionCall broken{.id = "call_1", .tool = "write", .arguments = {}, .unusable = {}};
  broken.unusable = Error{Code::kInvalidArgument, "it was cut", {}};
  const std::vector<ActionCall> read = calls_of(assistant_message("", {broken, {.id = "call_2", .tool = "read"}}));
  ASSERT_EQ(read.size(), 2u);
  ASSERT_TRUE(read[0].unusable);
  EXPECT_EQ(read[0].unusable->message, "it was cut");
  EXPECT_FALSE(read[1].unusable);
}

TEST(MessageTest, OddMessagesAreReadAsFarAsTheyGo) {
  for (const char* text : {"{}", R"({"role":1,"content":[]})", R"({"tool_calls":{}})", R"({"tool_calls":[]})"}) {
    base::Budget budget;
    const json::Value value = *json::parse(text, budget);
    EXPECT_EQ(role_of(value.get_object()), "") << text;
    EXPECT_EQ(content_of(value.get_object()), "") << text;
    EXPECT_TRUE(calls_of(value.get_object()).empty()) << text;
  }
  for (const char* text : {R"({"tool_calls":[1]})", R"({"tool_calls":[{}]})", R"({"tool_calls":[{"function":1}]})",
                           R"({"tool_calls":[{"id":2,"function":{"name":3,"arguments":"{}"}}]})"}) {
    base::Budget budget;
    const json::Value value = *json::parse(text, budget);
    ASSERT_EQ(calls_of(value.get_object()).size(), 1u) << text;
    EXPECT_EQ(calls_of(value.get_object())[0].tool, "") << text;
  }
}

TEST(MessageTest, IllFormedBytesBecomeReplacements) {
  EXPECT_EQ(well_formed("a\xFF"
                        "b\xE4\xB8"),
            "a\uFFFDb\uFFFD");
  EXPECT_EQ(well_formed("世\0界"), "世");  // a literal ends at its NUL
  EXPECT_EQ(well_formed(std::string_view("a\0b", 3)), std::string("a\0b", 3));
  EXPECT_EQ(content_of(user_message("\xC0")), "\uFFFD");
}

}  // namespace
}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
#include "protocol/openai_tools.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "protocol/openai_request.h"

namespace autoglm::protocol {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kTwo =
    R"("tools":[{"type":"function","function":{"name":"read","description":"Reads.","parameters":)"
    R"({"type":"object","properties":{"path":{"type":"string"}}}}},)"
    R"({"type":"function","function":{"name":"write","strict":true}}])";

std::string body(std::string_view more, std::string_view messages = R"([{"role":"user","content":"hi"}])") {
  return R"({"model":"m","messages":)" + std::string(messages) + "," + std::string(more) + "}";
}

ToolRequest read(std::string_view more) {
  auto request = parse_chat_request(body(more));
  EXPECT_TRUE(request) << request.error().message;
  return request ? request->tools : ToolRequest();
}

// The field that a refusal names.
std::string refused(std::string_view more, std::string_view messages = R"([{"role":"user","content":"hi"}])") {
  const auto request = parse_chat_request(body(more, messages));
  EXPECT_FALSE(request);
  return request ? "" : request.error().where;
}

std::vector<std::string> names(const ToolRequest& tools) {
  std::vector<std::string> found;
  for (const auto& tool : tools.callable) found.push_back(tool.name);
  return found;
}

TEST(Tools, AllFourChoices) {
  const std::string two(kTwo);
  EXPECT_EQ(read(two).use, ToolUse::kAuto);
  EXPECT_EQ(read(two + R"(,"tool_choice":"auto")").use, ToolUse::kAuto);
  const ToolRequest none = read(two + R"(,"tool_choice":"none")");
  EXPECT_EQ(none.use, ToolUse::kNone);
  EXPECT_TRUE(none.tools.empty());
  const ToolRequest required = read(two + R"(,"tool_choice":"required")");
  EXPECT_EQ(required.use, ToolUse::kRequired);
  EXPECT_THAT(names(required), ElementsAre("read", "write"));
  EXPECT_TRUE(required.is_parallel);
  const ToolRequest named = read(two + R"(,"tool_choice":{"type":"function","function":{"name":"write"}})");
  EXPECT_EQ(named.use, ToolUse::kRequired);
  EXPECT_THAT(names(named), ElementsAre("write"));
  EXPECT_THAT(named.places, ElementsAre(1u));
  EXPECT_EQ(named.tools.size(), 2u) << "the prompt still shows all of them";
  EXPECT_FALSE(named.is_parallel);
}

TEST(Tools, ParallelCallsCanBeSwitchedOff) {
  EXPECT_TRUE(read(kTwo).is_parallel);
  EXPECT_FALSE(read(std::string(kTwo) + R"(,"parallel_tool_calls":false)").is_parallel);
}

TEST(Tools, AreShownToTheTemplateInTheirOwnShape) {
  const ToolRequest tools = read(kTwo);
  EXPECT_EQ(
      json::format(tools.tools.at(0)),
      R"({"type":"function","function":{"name":"read","description":"Reads.","parameters":{"type":"object","properties":{"path":{"type":"string"}}}}})");
}

TEST(Tools, WithoutToolsThereIsNothingToChoose) {
  EXPECT_EQ(read(R"("tools":[])").use, ToolUse::kNone);
  EXPECT_EQ(read(R"("tool_choice":"auto")").use, ToolUse::kNone);
  EXPECT_EQ(refused(R"("tool_choice":"required")"), "tool_choice");
  EXPECT_EQ(refused(R"("tool_choice":{"type":"function","function":{"name":"x"}})"), "tool_choice");
}

TEST(Tools, RefusalsNameTheField) {
  EXPECT_EQ(refused(R"("tools":{})"), "tools");
  EXPECT_EQ(refused(R"("tools":[1])"), "tools[0]");
  EXPECT_EQ(refused(R"("tools":[{"type":"web_search"}])"), "tools[0].type");
  EXPECT_EQ(refused(R"("tools":[{"type":"function"}])"), "tools[0].function");
  EXPECT_EQ(refused(R"("tools":[{"type":"function","function":{"name":"a b"}}])"), "tools[0].function.name");
  EXPECT_EQ(refused(R"("tools":[{"type":"function","function":{"name":""}}])"), "tools[0].function.name");
  EXPECT_EQ(refused(R"("tools":[{"type":"function","function":{"name":"a","parameters":[]}}])"),
            "tools[0].function.parameters");
  EXPECT_EQ(refused(R"("tools":[{"type":"function","function":{"name":"a","odd":1}}])"), "tools[0].function.odd");
  EXPECT_EQ(
      refused(R"("tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"a"}}])"),
      "tools[1].function.name");
  EXPECT_EQ(refused(std::string(kTwo) + R"(,"tool_choice":"perhaps")"), "tool_choice");
  EXPECT_EQ(refused(std::string(kTwo) + R"(,"tool_choice":{"type":"function","function":{"name":"x"}})"),
            "tool_choice.function.name");
  EXPECT_EQ(refused(R"("functions":[{"name":"a"}])"), "functions");
  EXPECT_EQ(refused(R"("function_call":"auto")"), "function_call");
}

TEST(Tools, AtTheLimit) {
  const auto with = [](std::size_t count) {
    std::string list;
    for (std::size_t i = 0; i < count; ++i) {
      list += (i > 0 ? "," : "") + (R"({"type":"function","function":{"name":"t)" + std::to_string(i)) + R"("}})";
    }
    return R"("tools":[)" + list + "]";
  };
  EXPECT_EQ(read(with(kMaxTools)).callable.size(), kMaxTools);
  EXPECT_EQ(refused(with(kMaxTools + 1)), "tools");
}

TEST(ToolMessages, CallsKeepTheirArgumentsAsObjects) {
  const auto request = parse_chat_request(body(R"("n":1)",
                                               R"([{"role":"user","content":"hi"},
          {"role":"assistant","content":null,"tool_calls":[
            {"id":"call_1","type":"function","function":{"name":"read","arguments":"{\"path\":\"a\"}"}}]},
          {"role":"tool","tool_call_id":"call_1","content":"text"}])"));
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_THAT(
      json::format(request->messages),
      HasSubstr(
          R"("tool_calls":[{"id":"call_1","type":"function","function":{"name":"read","arguments":{"path":"a"}}}])"));
  EXPECT_THAT(json::format(request->messages), HasSubstr(R"("tool_call_id":"call_1")"));
}

// The official clients' helpers write down beside the arguments what they read in them, and send that back too.
TEST(ToolMessages, WhatAClientReadInTheArgumentsIsPassedOver) {
  const auto request = parse_chat_request(body(R"("n":1)",
                                               R"([{"role":"user","content":"hi"},
          {"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":
            {"name":"read","arguments":"{\"path\":\"a\"}","parsed_arguments":{"path":"a"}}}]}])"));
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_THAT(json::format(request->messages), HasSubstr(R"("function":{"name":"read","arguments":{"path":"a"}})"));
}

// A call that the answer's limit cut comes back in every later request of that conversation.
TEST(ToolMessages, ArgumentsThatAreNoObjectStayText) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("")", "{}"},
      {R"("{\"path\": \"a")", R"("{\"path\": \"a")"},
      {R"("[]")", R"("[]")"},
      {R"("{\"a\":1,\"a\":2}")", R"("{\"a\":1,\"a\":2}")"},
  };
  for (const auto& [sent, shown] : cases) {
    const auto request =
        parse_chat_request(body(R"("n":1)", R"([{"role":"user","content":"hi"},{"role":"assistant","tool_calls":[)"
                                            R"({"id":"c","type":"function","function":{"name":"read","arguments":)" +
                                                std::string(sent) + "}}]}]"));
    ASSERT_TRUE(request) << request.error().message;
    EXPECT_THAT(json::format(request->messages), HasSubstr(R"("arguments":)" + std::string(shown) + "}"));
  }
}

TEST(ToolMessages, BrokenCallsAreRefusedByName) {
  const auto with = [](std::string_view calls, std::string_view role = "assistant") {
    return R"([{"role":"user","content":"hi"},{"role":")" + std::string(role) + R"(","content":"","tool_calls":)" +
           std::string(calls) + "}]";
  };
  EXPECT_EQ(refused(R"("n":1)", with(R"([{"id":"c","type":"function","function":{"name":"read","arguments":{}}}])")),
            "messages[1].tool_calls[0].function.arguments");
  EXPECT_EQ(refused(R"("n":1)", with(R"([{"type":"function","function":{"name":"read"}}])")),
            "messages[1].tool_calls[0].id");
  EXPECT_EQ(refused(R"("n":1)", with(R"([{"id":"c","function":{"name":"read"}}])", "user")), "messages[1].tool_calls");
}

}  // namespace
}  // namespace autoglm::protocol

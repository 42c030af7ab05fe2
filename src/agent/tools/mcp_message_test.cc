// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/mcp_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "agent/fake_tool.h"

namespace autoglm::agent {
namespace {

McpMessage only(std::string_view text) {
  const auto messages = parse_mcp(text);
  EXPECT_TRUE(messages) << (messages ? "" : messages.error().message);
  return messages && messages->size() == 1 ? (*messages)[0] : McpMessage{};
}

TEST(McpMessage, TheFourKinds) {
  const auto result = only(R"({"jsonrpc":"2.0","id":3,"result":{"tools":[]}})");
  EXPECT_EQ(result.kind, McpMessage::Kind::kResult);
  EXPECT_TRUE(is_answer_to(result, 3));
  EXPECT_FALSE(is_answer_to(result, 4));
  EXPECT_TRUE(result.content.contains("tools"));
  const auto error = only(R"({"jsonrpc":"2.0","id":3,"error":{"code":-32602,"message":"no\nsuch\u001b[31m tool"}})");
  EXPECT_EQ(error.kind, McpMessage::Kind::kError);
  EXPECT_EQ(error.error_code, -32602);
  EXPECT_EQ(error.error_text.find('\n'), std::string::npos);
  EXPECT_EQ(error.error_text.find('\x1b'), std::string::npos);
  const auto request = only(R"({"jsonrpc":"2.0","id":"a","method":"ping"})");
  EXPECT_EQ(request.kind, McpMessage::Kind::kRequest);
  EXPECT_FALSE(is_answer_to(request, 3));
  const auto note = only(R"({"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info"}})");
  EXPECT_EQ(note.kind, McpMessage::Kind::kNotification);
  EXPECT_TRUE(note.content.contains("level"));
}

TEST(McpMessage, ListsOfMessages) {
  const auto both = parse_mcp(R"([{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","id":1,"result":{}}])");
  ASSERT_TRUE(both);
  EXPECT_EQ(both->size(), 2u);
}

TEST(McpMessage, WhatIsNone) {
  for (const char* text :
       {"", "null", "7", "{}", "[1]", R"({"jsonrpc":"1.0","id":1,"result":{}})", R"({"jsonrpc":"2.0","id":1})",
        R"({"jsonrpc":"2.0","id":1,"result":[]})", R"({"jsonrpc":"2.0","result":{}})",
        R"({"jsonrpc":"2.0","id":{},"result":{}})", R"({"jsonrpc":"2.0","id":[1],"method":"x"})",
        R"({"jsonrpc":"2.0","method":7})", R"({"jsonrpc":"2.0","id":1,"error":"x"})",
        R"({"jsonrpc":"2.0","id":1,"id":2,"result":{}})", "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"\xff\"}}"})
    EXPECT_EQ(parse_mcp(text).error().code, Code::kCorrupt) << text;
}

TEST(McpMessage, BombsAreBounded) {
  const auto begin = std::chrono::steady_clock::now();
  const std::string deep =
      R"({"jsonrpc":"2.0","id":1,"result":{"a":)" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}}";
  EXPECT_EQ(parse_mcp(deep).error().code, Code::kExhausted);
  std::string wide = R"({"jsonrpc":"2.0","id":1,"result":{"a":[0)";
  for (int i = 0; i < 1'100'000; ++i) wide += ",0";
  EXPECT_EQ(parse_mcp(wide + "]}}").error().code, Code::kExhausted);
  EXPECT_EQ(parse_mcp(std::string(kMaxMcpMessageBytes + 1, ' ')).error().code, Code::kExhausted);
  std::string many = "[";
  for (int i = 0; i < 1000; ++i) many += R"({"jsonrpc":"2.0","method":"x"},)";
  many.back() = ']';
  EXPECT_EQ(parse_mcp(many).error().code, Code::kExhausted);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST(McpMessage, WhatWeWrite) {
  EXPECT_EQ(mcp_request(7, "tools/list", {}), R"({"jsonrpc":"2.0","id":7,"method":"tools/list"})");
  EXPECT_EQ(mcp_notification("notifications/cancelled", json::Object{{"requestId", 7}}),
            R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}})");
  EXPECT_EQ(mcp_answer("x\"y", {}), R"({"jsonrpc":"2.0","id":"x\"y","result":{}})");
  EXPECT_EQ(mcp_refusal(3, -32601, "no"), R"({"jsonrpc":"2.0","id":3,"error":{"code":-32601,"message":"no"}})");
}

}  // namespace
}  // namespace autoglm::agent

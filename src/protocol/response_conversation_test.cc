// SPDX-License-Identifier: Apache-2.0
#include "protocol/response_conversation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/budget.h"

namespace autoglm::protocol {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

json::Array items(std::string_view text) {
  base::Budget budget;
  auto value = json::parse(text, budget);
  EXPECT_TRUE(value) << text;
  return value ? std::move(value->get_array()) : json::Array{};
}

std::string name_of(std::string_view label, std::string_view name) {
  return std::string(label) + "_" + std::string(name);
}

Conversation conversation_of(std::string_view text) {
  auto read = read_conversation(items(text), name_of);
  EXPECT_TRUE(read) << read.error().message;
  return read ? std::move(*read) : Conversation();
}

void expect_no_conversation(std::string_view text) {
  const auto read = read_conversation(items(text), name_of);
  ASSERT_FALSE(read) << text;
  EXPECT_EQ(read.error().code, Code::kInvalidArgument);
  EXPECT_EQ(read.error().where, "input");
}

// Roles, and the ids of the calls of a turn or the id that a result answers to.
std::vector<std::string> shape(const json::Array& messages) {
  std::vector<std::string> out;
  for (const json::Value& value : messages) {
    const json::Object& message = value.get_object();
    std::string line(message.at("role").get_string());
    if (const json::Value* calls = message.if_contains("tool_calls")) {
      for (const json::Value& call : calls->get_array()) {
        line += " " + std::string(call.get_object().at("id").get_string());
      }
    }
    if (const json::Value* id = message.if_contains("tool_call_id")) line += " " + std::string(id->get_string());
    out.push_back(line);
  }
  return out;
}

std::string content_at(const Conversation& conversation, std::size_t index) {
  return std::string(conversation.messages[index].get_object().at("content").get_string());
}

TEST(ResponseConversation, MessagesBecomeMessages) {
  const Conversation read = conversation_of(R"([
    {"type":"message","role":"developer","content":[{"type":"input_text","text":"a"},{"type":"input_text","text":"b"}]},
    {"type":"message","role":"user","content":[{"type":"input_text","text":"c"}]},
    {"type":"reasoning","id":"rs_r_1_0","content":[{"type":"reasoning_text","text":"hm"}]},
    {"type":"message","id":"msg_r_1_1","role":"assistant","content":[{"type":"output_text","text":"d"}]}])");
  EXPECT_EQ(json::format(read.messages), R"([{"role":"system","content":"a\nb"},{"role":"user","content":"c"},)"
                                         R"({"role":"assistant","content":"d","reasoning_content":"hm"}])");
}

TEST(ResponseConversation, ParallelCallsAreOneTurnAndResultsComeInCallOrder) {
  const Conversation read = conversation_of(R"([
    {"type":"function_call","call_id":"a","name":"f","arguments":"{\"x\":1}"},
    {"type":"function_call","call_id":"b","name":"f","arguments":"{}"},
    {"type":"function_call_output","call_id":"b","output":"2"},
    {"type":"function_call_output","call_id":"a","output":"1"},
    {"type":"function_call","call_id":"c","name":"f","arguments":"{}"},
    {"type":"function_call_output","call_id":"c","output":"3"}])");
  EXPECT_THAT(shape(read.messages), ElementsAre("assistant a b", "tool a", "tool b", "assistant c", "tool c"));
  EXPECT_EQ(content_at(read, 1), "1");
}

TEST(ResponseConversation, IdsTellWhichCallsOfOursAreOfOneTurn) {
  const auto call = [](const char* id) {
    return std::string(R"({"type":"mcp_call","server_label":"s","name":"t","arguments":"{}","output":"ok","id":")") +
           id + "\"}";
  };
  const Conversation read =
      conversation_of("[" + call("mcp_r_1_0") + "," + call("mcp_r_1_1") + "," + call("mcp_r_2_0") + "]");
  EXPECT_THAT(shape(read.messages), ElementsAre("assistant mcp_r_1_0 mcp_r_1_1", "tool mcp_r_1_0", "tool mcp_r_1_1",
                                                "assistant mcp_r_2_0", "tool mcp_r_2_0"));
  EXPECT_EQ(read.messages[1].get_object().at("name"), "s_t");
}

TEST(ResponseConversation, CallsAndResultsBelongTogether) {
  expect_no_conversation(R"([{"type":"function_call_output","call_id":"a","output":"1"}])");
  expect_no_conversation(R"([{"type":"function_call","call_id":"a","name":"f","arguments":"{}"}])");
  expect_no_conversation(R"([{"type":"function_call","call_id":"a","name":"f","arguments":"{}"},
                     {"type":"message","role":"user","content":[]},
                     {"type":"function_call_output","call_id":"a","output":"1"}])");
  expect_no_conversation(R"([{"type":"function_call","call_id":"a","name":"f","arguments":"{}"},
                     {"type":"function_call","call_id":"a","name":"f","arguments":"{}"}])");
  expect_no_conversation(R"([{"type":"mcp_approval_response","approval_request_id":"x","approve":true}])");
  // A call that was cut is nobody's to answer.
  EXPECT_THAT(
      conversation_of(R"([{"type":"function_call","call_id":"a","name":"f","arguments":"{","status":"incomplete"}])")
          .messages,
      IsEmpty());
}

// A model wrote them, and the client has answered all the same.
TEST(ResponseConversation, ArgumentsThatAreNoObjectStayText) {
  const Conversation read = conversation_of(R"([
    {"type":"function_call","call_id":"a","name":"f","arguments":"{\"x\": "},
    {"type":"function_call_output","call_id":"a","output":"these arguments are cut"}])");
  EXPECT_THAT(json::format(read.messages), HasSubstr(R"("arguments":"{\"x\": ")"));
}

constexpr std::string_view kQuestion =
    R"({"type":"mcp_approval_request","id":"mcpr_r_1_0","server_label":"s","name":"t","arguments":"{\"p\":1}"})";

TEST(ResponseConversation, LeaveIsGivenOnce) {
  const std::string asked = "[" + std::string(kQuestion);
  const std::string yes = R"(,{"type":"mcp_approval_response","approval_request_id":"mcpr_r_1_0","approve":true})";
  const std::string no =
      R"(,{"type":"mcp_approval_response","approval_request_id":"mcpr_r_1_0","approve":false,"reason":"why"})";
  const Conversation allowed = conversation_of(asked + yes + "]");
  ASSERT_THAT(allowed.approved, SizeIs(1));
  EXPECT_EQ(allowed.approved[0].request, "mcpr_r_1_0");
  EXPECT_EQ(allowed.approved[0].arguments, R"({"p":1})");
  const Conversation denied = conversation_of(asked + no + "]");
  EXPECT_THAT(denied.approved, IsEmpty());
  EXPECT_EQ(content_at(denied, 1), "It was not run: the user did not allow it: why");
  EXPECT_THAT(conversation_of(asked + "]").approved, IsEmpty());
  const Conversation done = conversation_of(
      asked + yes +
      R"(,{"type":"mcp_call","id":"mcp_q_0_0","server_label":"s","name":"t","arguments":"{}","output":"ran",)"
      R"("approval_request_id":"mcpr_r_1_0"}])");
  EXPECT_THAT(done.approved, IsEmpty());
  EXPECT_THAT(shape(done.messages), ElementsAre("assistant mcpr_r_1_0", "tool mcpr_r_1_0"));
  EXPECT_EQ(content_at(done, 1), "ran");
}

TEST(ResponseConversation, ErrorsAreResultsAndListsAreKnown) {
  const Conversation read = conversation_of(R"([{"type":"mcp_list_tools","server_label":"s","tools":[]},
    {"type":"mcp_call","id":"mcp_r_1_0","server_label":"s","name":"t","arguments":"{}","output":null,
     "error":{"type":"mcp_tool_execution_error","content":[{"type":"text","text":"no"}]}}])");
  EXPECT_THAT(read.listed, ElementsAre("s"));
  EXPECT_EQ(content_at(read, 1), "no");
}

}  // namespace
}  // namespace autoglm::protocol

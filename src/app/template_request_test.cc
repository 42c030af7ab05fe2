// SPDX-License-Identifier: Apache-2.0
#include "app/template_request.h"

#include <gtest/gtest.h>

namespace autoglm::app {
namespace {

TEST(TemplateRequest, KeepsWhatTemplatesSee) {
  const auto request = read_template_request(R"({
    "model": "m", "temperature": 0, "add_generation_prompt": false, "chat_template_kwargs": {"enable_thinking": false},
    "messages": [
      {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
      {"role": "assistant", "content": null, "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}},
        {"id": "2", "type": "function", "function": {"name": "f", "arguments": {"x": 2}}},
        {"id": "3", "type": "function", "function": {"name": "f", "arguments": "not json"}}]},
      {"role": "tool", "tool_call_id": "1", "content": "ok"}],
    "tools": [{"type": "function", "function": {"name": "f"}}]})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_FALSE(request->add_generation_prompt);
  EXPECT_EQ(json::format(request->kwargs), R"({"enable_thinking":false})");
  EXPECT_EQ(json::format(request->messages[0]), R"({"role":"system","content":"a\nb"})");
  const auto& calls = request->messages[1].at("tool_calls").as_array();
  EXPECT_EQ(json::format(calls[0].at("function").at("arguments")), R"({"x":1})");
  EXPECT_EQ(json::format(calls[1].at("function").at("arguments")), R"({"x":2})");
  EXPECT_EQ(json::format(calls[2].at("function").at("arguments")), R"("not json")");
  EXPECT_EQ(json::format(request->messages[2]), R"({"role":"tool","tool_call_id":"1","content":"ok"})");
  ASSERT_TRUE(request->tools);
  EXPECT_EQ(request->tools->size(), 1u);
}

TEST(TemplateRequest, RefusesWhatIsNotARequest) {
  for (const char* body :
       {"", "[]", "{}", R"({"messages": 1})", R"({"messages": [1]})", R"({"messages": [{"content": "no role"}]})",
        R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})", R"({"messages": [], "tools": 1})",
        R"({"messages": [], "chat_template_kwargs": []})", R"({"messages": [], "add_generation_prompt": 1})"}) {
    const auto request = read_template_request(body);
    ASSERT_FALSE(request) << body;
    EXPECT_EQ(request.error().code, Code::kInvalidArgument) << body;
  }
}

}  // namespace
}  // namespace autoglm::app

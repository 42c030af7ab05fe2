// SPDX-License-Identifier: Apache-2.0
#include "protocol/response_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "protocol/limits.h"
#include "protocol/response_items.h"

namespace autoglm::protocol {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

std::string response_body(const std::string& more, const std::string& input = R"("hello")") {
  return R"({"model":"m","input":)" + input + (more.empty() ? "" : ",") + more + "}";
}

ResponseRequest accepted(const std::string& text) {
  auto request = parse_response_request(text);
  EXPECT_TRUE(request) << text << ": " << request.error().message;
  return request ? std::move(*request) : ResponseRequest();
}

// The field that a refusal is about.
std::string where_refused(const std::string& text) {
  const auto request = parse_response_request(text);
  EXPECT_FALSE(request) << text;
  if (request) return "(accepted)";
  EXPECT_EQ(request.error().code, Code::kInvalidArgument);
  return request.error().where;
}

std::string_view item_field(const json::Value& item, std::string_view name) {
  return text_of_field(item.get_object(), name);
}

TEST(ResponseRequest, ATextIsAMessageOfTheUser) {
  const ResponseRequest request = accepted(response_body(""));
  ASSERT_THAT(request.input, SizeIs(1));
  EXPECT_EQ(
      json::format(request.input),
      R"([{"type":"message","role":"user","status":"completed","content":[{"type":"input_text","text":"hello"}]}])");
  EXPECT_TRUE(request.store);
  EXPECT_FALSE(request.stream);
  EXPECT_EQ(request.tools.use, ToolUse::kNone);
}

TEST(ResponseRequest, ParametersAreReadAndRepeated) {
  const ResponseRequest request = accepted(response_body(
      R"("instructions":"Be brief.","max_output_tokens":7,"max_tool_calls":3,"temperature":0,"top_p":0.5,"store":false,
      "stream":true,"metadata":{"a":"b"},"user":"me","previous_response_id":"resp_1","truncation":"disabled",
      "background":false,"include":[],"reasoning":{"effort":null},"service_tier":"auto","prompt_cache_key":"k")"));
  EXPECT_EQ(request.instructions, "Be brief.");
  EXPECT_EQ(request.max_output_tokens, 7U);
  EXPECT_EQ(request.max_tool_calls, 3U);
  EXPECT_EQ(request.temperature, 0);
  EXPECT_EQ(request.top_p, 0.5);
  EXPECT_EQ(request.previous, "resp_1");
  EXPECT_FALSE(request.store);
  EXPECT_TRUE(request.stream);
  EXPECT_EQ(json::format(request.echo.at("metadata")), R"({"a":"b"})");
  EXPECT_EQ(json::format(request.echo.at("user")), R"("me")");
  EXPECT_EQ(json::format(request.echo.at("max_output_tokens")), "7");
  EXPECT_EQ(json::format(request.echo.at("store")), "false");
}

TEST(ResponseRequest, WhatIsNotSupportedIsRefusedByName) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("background":true)", "background"},
      {R"("truncation":"auto")", "truncation"},
      {R"("include":["reasoning.encrypted_content"])", "include"},
      {R"("conversation":"conv_1")", "conversation"},
      {R"("prompt":{"id":"pmpt_1"})", "prompt"},
      {R"("reasoning":{"effort":"high"})", "reasoning.effort"},
      {R"("reasoning":{"summary":"auto"})", "reasoning.summary"},
      {R"("top_logprobs":2)", "top_logprobs"},
      {R"("stream_options":{"include_obfuscation":true})", "stream_options.include_obfuscation"},
      {R"("text":{"verbosity":"low"})", "text.verbosity"},
      {R"("text":{"format":{"type":"grammar"}})", "text.format.type"},
      {R"("frobnicate":1)", "frobnicate"},
      {R"("messages":[])", "messages"},
      {R"("tools":[{"type":"web_search"}])", "tools[0].type"},
      {R"("tools":[{"type":"file_search","vector_store_ids":["v"]}])", "tools[0].type"},
      {R"("tools":[{"type":"mcp","server_label":"s","server_url":"http://127.0.0.1/"}])", "tools[0].server_url"},
      {R"("tools":[{"type":"mcp","server_label":"s","connector_id":"connector_gmail"}])", "tools[0].connector_id"},
      {R"("tools":[{"type":"mcp","server_label":"s","headers":{"a":"b"}}])", "tools[0].headers"},
      {R"("tools":[{"type":"mcp","server_label":"s","authorization":"k"}])", "tools[0].authorization"},
      {R"("tools":[{"type":"mcp"}])", "tools[0].server_label"},
      {R"("tools":[{"type":"mcp","server_label":"s"},{"type":"mcp","server_label":"s"}])", "tools[1].server_label"},
      {R"("tools":[{"type":"mcp","server_label":"s","require_approval":"sometimes"}])", "tools[0].require_approval"},
      {R"("tools":[{"type":"mcp","server_label":"s","allowed_tools":{"read_only":true}}])",
       "tools[0].allowed_tools.read_only"},
      {R"("tools":[{"type":"mcp","server_label":"s","allowed_tools":[1]}])", "tools[0].allowed_tools"},
      {R"("tools":[{"type":"function","name":"a b"}])", "tools[0].name"},
      {R"("tools":[{"type":"function","name":"a"},{"type":"function","name":"a"}])", "tools[1].name"},
      {R"("tools":[{"type":"function","function":{"name":"a"}}])", "tools[0].name"},
      {R"("tool_choice":"required")", "tool_choice"},
      {R"("tools":[{"type":"function","name":"a"}],"tool_choice":{"type":"function","name":"b"})", "tool_choice.name"},
      {R"("tools":[{"type":"function","name":"a"}],"tool_choice":{"type":"mcp","server_label":"s"})",
       "tool_choice.server_label"},
      {R"("tools":[{"type":"function","name":"a"}],"tool_choice":{"type":"allowed_tools"})", "tool_choice.type"},
  };
  for (const auto& [more, where] : cases) EXPECT_EQ(where_refused(response_body(more)), where) << more;
}

TEST(ResponseRequest, ItemsAndPartsThatAreNotSupportedAreNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {R"([{"role":"user","content":[{"type":"input_image","image_url":"http://127.0.0.1/"}]}])",
       "input[0].content[0].type"},
      {R"([{"role":"user","content":[{"type":"input_file","file_id":"f"}]}])", "input[0].content[0].type"},
      {R"([{"role":"user","content":[{"type":"output_text","text":"x"}]}])", "input[0].content[0].type"},
      {R"([{"role":"user","content":"a"},{"type":"item_reference","id":"x"}])", "input[1].type"},
      {R"([{"type":"computer_call_output"}])", "input[0].type"},
      {R"([{"role":"tool","content":"a"}])", "input[0].role"},
      {R"([{"role":"user"}])", "input[0].content"},
      {R"([{"role":"user","content":"a","name":"n"}])", "input[0].name"},
      {R"([{"type":"function_call","name":"f","arguments":"{}"}])", "input[0].call_id"},
      {R"([{"type":"function_call","call_id":"c","name":"f","arguments":{}}])", "input[0].arguments"},
      {R"([{"type":"mcp_approval_request","id":"a","server_label":"s","name":"t","arguments":"{"}])",
       "input[0].arguments"},
      {R"([{"type":"function_call_output","call_id":"c"}])", "input[0].output"},
      {R"([{"type":"mcp_approval_response","approval_request_id":"a"}])", "input[0].approve"},
      {R"([{"type":"reasoning","encrypted_content":"x"}])", "input[0].encrypted_content"},
      {R"([1])", "input[0]"},
      {R"(1)", "input"},
      {R"([])", "input"},
  };
  for (const auto& [input, where] : cases) EXPECT_EQ(where_refused(response_body("", input)), where) << input;
  EXPECT_EQ(where_refused(R"({"model":"m"})"), "input");
  EXPECT_EQ(where_refused(R"({"input":"x"})"), "model");
}

TEST(ResponseRequest, LimitsHold) {
  EXPECT_EQ(where_refused(response_body(R"("max_output_tokens":0)")), "max_output_tokens");
  EXPECT_EQ(accepted(response_body(R"("max_output_tokens":1048576)")).max_output_tokens, kMaxTokens);
  EXPECT_EQ(where_refused(response_body(R"("max_output_tokens":1048577)")), "max_output_tokens");
  EXPECT_EQ(accepted(response_body(R"("max_tool_calls":64)")).max_tool_calls, kMaxToolCalls);
  EXPECT_EQ(where_refused(response_body(R"("max_tool_calls":65)")), "max_tool_calls");
  EXPECT_EQ(where_refused(response_body(R"("temperature":2.1)")), "temperature");
  EXPECT_EQ(where_refused(response_body(R"("top_p":1.1)")), "top_p");
  std::string items;
  for (std::size_t i = 0; i < kMaxMessages; ++i) items += R"({"role":"user","content":"x"},)";
  EXPECT_THAT(accepted(response_body("", "[" + items.substr(0, items.size() - 1) + "]")).input, SizeIs(kMaxMessages));
  EXPECT_EQ(where_refused(response_body("", "[" + items + R"({"role":"user","content":"x"}])")), "input");
  std::string tools;
  for (std::size_t i = 0; i <= kMaxTools; ++i) tools += R"({"type":"function","name":"f)" + std::to_string(i) + "\"},";
  EXPECT_EQ(where_refused(response_body(R"("tools":[)" + tools.substr(0, tools.size() - 1) + "]")), "tools");
  std::string metadata;
  for (int i = 0; i < 17; ++i) metadata += "\"k" + std::to_string(i) + R"(":"v",)";
  EXPECT_EQ(where_refused(response_body(R"("metadata":{)" + metadata.substr(0, metadata.size() - 1) + "}")),
            "metadata");
}

TEST(ResponseRequest, ToolsAndChoices) {
  const std::string tools =
      R"("tools":[{"type":"function","name":"f","description":"d","parameters":{"type":"object"},"strict":true},
      {"type":"mcp","server_label":"files","allowed_tools":["read"],"require_approval":{"never":{"tool_names":["read"]}}}])";
  const ResponseRequest request = accepted(response_body(tools));
  EXPECT_EQ(request.tools.use, ToolUse::kAuto);
  ASSERT_THAT(request.tools.functions, SizeIs(1));
  EXPECT_EQ(request.tools.functions[0].signature.name, "f");
  ASSERT_THAT(request.tools.servers, SizeIs(1));
  EXPECT_EQ(request.tools.servers[0].label, "files");
  EXPECT_THAT(*request.tools.servers[0].allowed, ElementsAre("read"));
  EXPECT_THAT(request.tools.servers[0].never, ElementsAre("read"));
  EXPECT_EQ(request.tools.servers[0].place, 1U);
  EXPECT_EQ(accepted(response_body(tools + R"(,"tool_choice":"none")")).tools.use, ToolUse::kNone);
  EXPECT_EQ(accepted(response_body(tools + R"(,"tool_choice":"required")")).tools.use, ToolUse::kRequired);
  const ResponseRequest named =
      accepted(response_body(tools + R"(,"tool_choice":{"type":"mcp","server_label":"files"})"));
  EXPECT_EQ(named.tools.use, ToolUse::kRequired);
  EXPECT_EQ(named.tools.chosen_server, "files");
}

// What an answer of ours says can be sent back as the client holds it.
TEST(ResponseRequest, ItemsOfAnswersAreTakenBack) {
  const ResponseRequest request = accepted(response_body("", R"([
    {"type":"message","id":"msg_1","role":"assistant","status":"completed",
     "content":[{"type":"output_text","text":"hi","annotations":[],"logprobs":[]}],"phase":null},
    {"type":"reasoning","id":"rs_1","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]},
    {"type":"reasoning","id":"rs_2","summary":[]},
    {"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":"{\"a\":1}","status":"completed"},
    {"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"22"}]},
    {"type":"mcp_list_tools","id":"mcpl_1","server_label":"s","tools":[{"name":"t"}],"error":null},
    {"type":"mcp_call","id":"mcp_1","server_label":"s","name":"t","arguments":"{}","output":"done","error":null,
     "approval_request_id":null,"status":"completed"},
    {"type":"mcp_call","id":"mcp_2","server_label":"s","name":"t","arguments":"{}","output":null,
     "error":{"type":"mcp_tool_execution_error","content":[{"type":"text","text":"no"}]},"status":"failed"},
    {"type":"mcp_approval_request","id":"mcpr_1","server_label":"s","name":"t","arguments":"{}"},
    {"type":"mcp_approval_response","approval_request_id":"mcpr_1","approve":false,"reason":"why"}])"));
  ASSERT_THAT(request.input, SizeIs(10));
  EXPECT_EQ(item_field(request.input[3], "arguments"), R"({"a":1})");
  EXPECT_EQ(item_field(request.input[4], "output"), "22");
  EXPECT_EQ(text_of_call_error(request.input[7].get_object().at("error")), "no");
  EXPECT_EQ(item_field(request.input[9], "reason"), "why");
}

// The official clients' helpers write down beside a text what they read in it, and send that back too.
TEST(ResponseRequest, WhatAClientReadInAnAnswerIsPassedOver) {
  const ResponseRequest request = accepted(response_body("", R"([
    {"type":"message","role":"assistant","content":[{"type":"output_text","text":"{}","annotations":[],"parsed":{"a":[1]}}]},
    {"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}","parsed_arguments":{"a":1}}])"));
  ASSERT_THAT(request.input, SizeIs(2));
  EXPECT_EQ(json::format(request.input).find("parsed"), std::string::npos);
  EXPECT_EQ(
      where_refused(response_body("", R"([{"role":"user","content":[{"type":"input_text","text":"x","parsed":1}]}])")),
      "input[0].content[0].parsed");
}

TEST(ResponseRequest, SchemasArePointedAt) {
  const ResponseRequest request = accepted(
      response_body(R"("text":{"format":{"type":"json_schema","name":"s","strict":true,"schema":{"type":"object"}}})"));
  EXPECT_EQ(request.format.kind, FormatKind::kJsonSchema);
  EXPECT_EQ(request.format.pointer, "/text/format/schema");
  EXPECT_THAT(json::format(request.echo.at("text")), HasSubstr("json_schema"));
}

}  // namespace
}  // namespace autoglm::protocol

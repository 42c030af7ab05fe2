// SPDX-License-Identifier: Apache-2.0
// POST /v1/responses with texts, functions and what is stored.
#include "server/response_fixture.h"

namespace autoglm::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

class Responses : public ResponseFixture {};

TEST_F(Responses, ATextIsAnswered) {
  const json::Value response = respond("hi", R"("metadata":{"a":"b"},"instructions":"Be brief.")");
  EXPECT_EQ(text_of(at(response, "object")), "response");
  EXPECT_EQ(text_of(at(response, "status")), "completed");
  EXPECT_THAT(id_of(response), testing::StartsWith("resp_"));
  EXPECT_THAT(output_types(response), ElementsAre("message"));
  EXPECT_EQ(said(response), "Hello from the script.");
  EXPECT_EQ(text_of(at(response, "metadata", "a")), "b");
  EXPECT_EQ(text_of(at(response, "instructions")), "Be brief.");
  EXPECT_EQ(at(response, "usage", "output_tokens").to_number<int>(), 22);
  EXPECT_EQ(at(response, "usage", "total_tokens").to_number<int>(),
            22 + at(response, "usage", "input_tokens").to_number<int>());
}

TEST_F(Responses, TheEventsOfATextComeInOrderAndEndWithTheWholeResponse) {
  const std::vector<json::Value> all = stream("hi");
  EXPECT_THAT(types(all),
              ElementsAre("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta",
                          "output_text.done", "content_part.done", "output_item.done", "completed"));
  std::string text;
  for (const json::Value& event : all) {
    if (text_of(at(event, "type")) == "response.output_text.delta") text += text_of(at(event, "delta"));
  }
  EXPECT_EQ(text, "Hello from the script.");
  EXPECT_EQ(text_of(at(all[0], "response", "status")), "in_progress");
  EXPECT_EQ(same(at(all.back(), "response")), same(respond("hi")));
}

TEST_F(Responses, FunctionsAreCalledByTheClient) {
  const json::Value first = respond("add two numbers", kAdd);
  EXPECT_EQ(text_of(at(first, "status")), "completed");
  EXPECT_THAT(output_types(first), ElementsAre("message", "function_call"));
  const json::Value& call = at(first, "output", 1);
  EXPECT_EQ(text_of(at(call, "name")), "add");
  EXPECT_EQ(text_of(at(call, "arguments")), R"({"a": 2, "b": 2})");
  const std::string result =
      R"({"type":"function_call_output","call_id":")" + text_of(at(call, "call_id")) + R"(","output":"4"})";
  const json::Value second = respond("[" + result + "]", std::string(kAdd) + "," + after(first));
  EXPECT_EQ(said(second), "It is 4.");
  // The same without the store: the client sends the conversation.
  std::string items = R"([{"role":"user","content":"add two numbers"})";
  for (const json::Value& item : at(first, "output").as_array()) items += "," + json::format(item);
  const json::Value whole = respond(items + "," + result + "]", kAdd);
  EXPECT_EQ(said(whole), "It is 4.");
  EXPECT_EQ(at(whole, "usage", "input_tokens"), at(second, "usage", "input_tokens"));
  // A call without its result is no conversation that could go on.
  expect_error(post("/v1/responses", asked("go on", std::string(kAdd) + "," + after(first))), 400, "invalid_argument",
               "input");
}

TEST_F(Responses, TheEventsOfACallComeInOrder) {
  const std::vector<json::Value> all = stream("add two numbers", kAdd);
  EXPECT_THAT(types(all), ElementsAre("created", "in_progress", "output_item.added", "content_part.added",
                                      "output_text.delta", "output_text.done", "content_part.done", "output_item.done",
                                      "output_item.added", "function_call_arguments.delta",
                                      "function_call_arguments.done", "output_item.done", "completed"));
  std::string arguments;
  for (const json::Value& event : all) {
    if (text_of(at(event, "type")) == "response.function_call_arguments.delta")
      arguments += text_of(at(event, "delta"));
  }
  EXPECT_EQ(arguments, R"({"a": 2, "b": 2})");
  EXPECT_EQ(same(at(all.back(), "response")), same(respond("add two numbers", kAdd)));
}

TEST_F(Responses, ToolChoices) {
  const std::string tools(kAdd);
  for (const char* choice : {R"("required")", R"({"type":"function","name":"add"})"}) {
    const auto refused = post("/v1/responses", asked("hi", tools + R"(,"tool_choice":)" + choice));
    EXPECT_EQ(refused.status, 500) << "the script says no call, and the grammar wants one";
  }
  const json::Value none = respond("add two numbers", tools + R"(,"tool_choice":"none")");
  EXPECT_THAT(output_types(none), ElementsAre("message"));
  EXPECT_THAT(said(none), HasSubstr("<tool_call>"));
}

TEST_F(Responses, SchemasAreKeptAndPointedAt) {
  const json::Value response = respond(
      "the weather as json",
      R"("text":{"format":{"type":"json_schema","name":"s","schema":{"type":"object","properties":{"city":{"type":"string"},
      "degrees":{"type":"integer"}},"required":["city","degrees"],"additionalProperties":false}}})");
  EXPECT_EQ(said(response), R"({"city":"Paris","degrees":21})");
  const std::string bad = R"({"type":"object","properties":{"a":{"type":"string","pattern":"(?=x)y"}}})";
  const auto schema =
      post("/v1/responses", asked("x", R"("text":{"format":{"type":"json_schema","name":"s","schema":)" + bad + "}}"));
  EXPECT_EQ(schema.status, 400);
  EXPECT_THAT(text_of(at(parsed(schema.body), "error", "param")), testing::StartsWith("/text/format/schema"));
  const auto tool =
      post("/v1/responses", asked("x", R"("tools":[{"type":"function","name":"f","parameters":)" + bad + "}]"));
  EXPECT_EQ(tool.status, 400);
  EXPECT_THAT(text_of(at(parsed(tool.body), "error", "param")), testing::StartsWith("/tools/0/parameters"));
}

TEST_F(Responses, WithToolsAnAnswerKeepsItsSchemaToo) {
  constexpr std::string_view kFormat =
      R"("text":{"format":{"type":"json_schema","name":"s","schema":{"type":"object","properties":{"city":{"type":"string"},
      "degrees":{"type":"integer"}},"required":["city","degrees"],"additionalProperties":false}}})";
  constexpr std::string_view kClock = R"("tools":[{"type":"mcp","server_label":"tools"}])";
  const std::string both = std::string(kClock) + "," + std::string(kFormat);
  // A call of ours, and then the answer.
  for (const std::string_view more : {"", R"(,"max_tool_calls":1)"}) {
    const json::Value response = respond("the time as json", both + std::string(more));
    EXPECT_THAT(output_types(response), ElementsAre("mcp_list_tools", "mcp_call", "message"));
    EXPECT_EQ(said(response), R"({"city":"noon","degrees":12})");
  }
  const std::vector<json::Value> events = stream("the time as json", both);
  EXPECT_EQ(said(at(events.back(), "response")), R"({"city":"noon","degrees":12})");
  EXPECT_EQ(said(respond("the weather as json", both)), R"({"city":"Paris","degrees":21})");
  const std::string bad = R"({"type":"object","properties":{"a":{"type":"string","pattern":"(?=x)y"}}})";
  for (const std::string_view choice : {"auto", "required"}) {
    const auto refused =
        post("/v1/responses",
             asked("x", std::string(kAdd) + R"(,"tool_choice":")" + std::string(choice) +
                            R"(","text":{"format":{"type":"json_schema","name":"s","schema":)" + bad + "}}"));
    EXPECT_EQ(refused.status, 400);
    EXPECT_THAT(text_of(at(parsed(refused.body), "error", "param")), testing::StartsWith("/text/format/schema"));
  }
}

TEST_F(Responses, AnAnswerThatReachesItsLimitIsIncomplete) {
  const json::Value response = respond("hi", R"("max_output_tokens":5)");
  EXPECT_EQ(text_of(at(response, "status")), "incomplete");
  EXPECT_EQ(text_of(at(response, "incomplete_details", "reason")), "max_output_tokens");
  EXPECT_EQ(said(response), "Hello");
  EXPECT_EQ(text_of(at(response, "output", 0, "status")), "incomplete");
  const std::vector<json::Value> all = stream("add two numbers", std::string(kAdd) + R"(,"max_output_tokens":60)");
  EXPECT_EQ(text_of(at(all.back(), "type")), "response.incomplete");
  EXPECT_EQ(text_of(at(all.back(), "response", "output", 1, "status")), "incomplete");
  // A call that was cut needs no result.
  EXPECT_EQ(respond("hi", after(at(all.back(), "response"))).at("status"), "completed");
}

TEST_F(Responses, WhatIsWrongIsToldBeforeAStreamBegins) {
  for (const char* more : {"", R"(,"stream":true)"}) {
    const std::string tail = more;
    expect_error(post("/v1/responses", asked("hi", R"("background":true)" + tail)), 400, "invalid_argument",
                 "background");
    expect_error(post("/v1/responses", asked("hi", R"("previous_response_id":"resp_none")" + tail)), 404,
                 "previous_response_not_found", "previous_response_id");
    expect_error(post("/v1/responses", asked(std::string(5000, 'x'), R"("store":false)" + tail)), 400,
                 "context_length_exceeded", "input");
    expect_error(post("/v1/responses", R"({"model":"other","input":"x")" + tail + "}"), 404, "model_not_found",
                 "model");
  }
  expect_error(post("/v1/responses", asked("hi", R"("tools":[{"type":"mcp","server_label":"nobody"}])")), 400,
               "invalid_argument", "tools[0].server_label");
  expect_error(
      post("/v1/responses", asked("hi", R"("tools":[{"type":"mcp","server_label":"files","allowed_tools":["fly"]}])")),
      400, "invalid_argument", "tools[0].allowed_tools");
  expect_error(post("/v1/responses", asked("hi", R"("tools":[{"type":"function","name":"files_read"},)"
                                                 R"({"type":"mcp","server_label":"files"}])")),
               400, "invalid_argument", "tools[1].server_label");
}

TEST_F(Responses, AConversationGoesOnFromWhatIsStored) {
  const json::Value first = respond("first");
  const json::Value second = respond("second", after(first));
  EXPECT_EQ(said(second), "You said first.");
  EXPECT_EQ(text_of(at(second, "previous_response_id")), id_of(first));
  // Instructions are those of the request alone.
  const json::Value other = respond("second", after(respond("first", R"("instructions":"<|user|>x")")));
  EXPECT_EQ(said(other), "You said first.");
  const json::Value read = parsed(get("/v1/responses/" + id_of(second)).body);
  EXPECT_EQ(json::format(read), json::format(second));
  const json::Value input = parsed(get("/v1/responses/" + id_of(second) + "/input_items").body);
  EXPECT_EQ(text_of(at(input, "data", 0, "content", 0, "text")), "second");
  EXPECT_EQ(at(input, "first_id"), at(input, "last_id"));
  const auto removed = net::exchange_bytes(port(), request("DELETE", "/v1/responses/" + id_of(first)));
  EXPECT_EQ(removed.status, 200);
  EXPECT_TRUE(at(parsed(removed.body), "deleted").as_bool());
  expect_error(get("/v1/responses/" + id_of(first)), 404, "not_found", "response_id");
  expect_error(net::exchange_bytes(port(), request("DELETE", "/v1/responses/" + id_of(first))), 404, "not_found",
               "response_id");
  expect_error(post("/v1/responses", asked("x", after(second))), 404, "previous_response_not_found",
               "previous_response_id");
  expect_error(get("/v1/responses/" + id_of(second) + "?stream=true"), 400, "invalid_argument", "query");
}

TEST_F(Responses, ItemsAreToldPageByPage) {
  const json::Value response = parsed(post("/v1/responses", R"({"model":"fake-model","input":[
    {"role":"user","content":"one"},{"role":"assistant","content":"two"},{"role":"user","content":"three"}]})")
                                          .body);
  const std::string path = "/v1/responses/" + id_of(response) + "/input_items";
  const auto texts = [](const json::Value& page) {
    std::string all;
    for (const json::Value& item : at(page, "data").get_array()) all += text_of(at(item, "content", 0, "text")) + " ";
    return all + (at(page, "has_more").as_bool() ? "..." : "");
  };
  EXPECT_EQ(texts(parsed(get(path).body)), "three two one ");
  EXPECT_EQ(texts(parsed(get(path + "?order=asc&limit=3").body)), "one two three ");
  const json::Value first = parsed(get(path + "?order=asc&limit=2").body);
  EXPECT_EQ(texts(first), "one two ...");
  const std::string last = text_of(at(first, "last_id"));
  EXPECT_EQ(texts(parsed(get(path + "?order=asc&limit=2&after=" + last).body)), "three ");
  EXPECT_EQ(texts(parsed(get(path + "?after=" + last).body)), "one ");
  EXPECT_EQ(texts(parsed(get(path + "?after=" + text_of(at(first, "first_id"))).body)), "");
  for (const auto& [query, name] :
       {std::pair("limit=0", "limit"), std::pair("limit=101", "limit"), std::pair("limit=x", "limit"),
        std::pair("limit=", "limit"), std::pair("order=up", "order"), std::pair("after=x", "after"),
        std::pair("include[]=a", "include[]"), std::pair("order", "order")}) {
    expect_error(get(path + "?" + query), 400, "invalid_argument", name);
  }
  EXPECT_EQ(get(path + "?limit=100").status, 200);
}

TEST_F(Responses, WhatIsNotToBeStoredLeavesNothing) {
  const json::Value response = respond("hi", R"("store":false)");
  stream("hi", R"("store":false)");
  EXPECT_EQ(store_->count(), 0U);
  EXPECT_FALSE(at(response, "store").as_bool());
  expect_error(get("/v1/responses/" + id_of(response)), 404, "not_found", "response_id");
  expect_error(post("/v1/responses", asked("x", after(response))), 404, "previous_response_not_found",
               "previous_response_id");
  // Nor does what was answered with an error.
  post("/v1/responses", asked("hi", std::string(kAdd) + R"(,"tool_choice":"required")"));
  EXPECT_EQ(store_->count(), 0U);
  respond("hi");
  EXPECT_EQ(store_->count(), 1U);
}

TEST_F(Responses, ATenantSeesItsOwnOnly) {
  start_scripted({.api_keys = {"key-a", "key-b"}});
  const std::string a = "Authorization: Bearer key-a\r\n", b = "Authorization: Bearer key-b\r\n";
  const json::Value response = respond("hi", {}, a);
  const std::string path = "/v1/responses/" + id_of(response);
  EXPECT_EQ(get(path, a).status, 200);
  expect_error(get(path, b), 404, "not_found", "response_id");
  expect_error(get(path + "/input_items", b), 404, "not_found", "response_id");
  expect_error(post(path + "/cancel", "", b), 404, "not_found", "response_id");
  expect_error(net::exchange_bytes(port(), request("DELETE", path, {}, b)), 404, "not_found", "response_id");
  expect_error(post("/v1/responses", asked("x", after(response)), b), 404, "previous_response_not_found",
               "previous_response_id");
  EXPECT_EQ(get(path).status, 401);
  EXPECT_EQ(get(path, a).status, 200);
}

TEST_F(Responses, WhatIsThoughtIsAnItemOfItsOwnAndCounted) {
  const json::Value response = respond("think about it", kAdd);
  EXPECT_THAT(output_types(response), ElementsAre("reasoning", "message"));
  const auto count = [&](const json::Value& number) { return number.to_number<int>(); };
  const int thought = count(at(response, "usage", "output_tokens_details", "reasoning_tokens"));
  EXPECT_GT(thought, 0);
  EXPECT_LT(thought, count(at(response, "usage", "output_tokens")));
  EXPECT_EQ(count(at(respond("x"), "usage", "output_tokens_details", "reasoning_tokens")), 0);
}

// A client that has its id from the first event can end it, from another connection.
TEST_F(Responses, AStreamIsCancelled) {
  net::TestClient client(port());
  client.send(request("POST", "/v1/responses", asked("endless", R"("stream":true)")));
  ASSERT_TRUE(client.read_until("response.output_text.delta"));
  const auto begin = client.received().find("resp_");
  const std::string id = client.received().substr(begin, client.received().find('"', begin) - begin);
  EXPECT_EQ(text_of(at(parsed(get("/v1/responses/" + id).body), "status")), "in_progress");
  expect_error(net::exchange_bytes(port(), request("DELETE", "/v1/responses/" + id)), 400, "invalid_argument",
               "response_id");
  // The official clients send neither a body nor its type.
  const auto cancelled = net::exchange_bytes(
      port(), "POST /v1/responses/" + id + "/cancel HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(cancelled.status, 200);
  EXPECT_EQ(text_of(at(parsed(cancelled.body), "status")), "cancelled");
  const std::vector<json::Value> all = events(client.read_response().body);
  EXPECT_EQ(text_of(at(all.back(), "type")), "response.failed");
  EXPECT_EQ(text_of(at(all.back(), "response", "status")), "cancelled");
  EXPECT_EQ(text_of(at(parsed(get("/v1/responses/" + id).body), "status")), "cancelled");
  expect_error(post("/v1/responses/" + id + "/cancel", ""), 400, "invalid_argument", "response_id");
  expect_error(post("/v1/responses", asked("x", R"("previous_response_id":")" + id + "\"")), 400, "invalid_argument",
               "previous_response_id");
  expect_error(post("/v1/responses/resp_none/cancel", ""), 404, "not_found", "response_id");
}

TEST_F(Responses, AStopOfTheServerEndsThem) {
  net::TestClient client(port());
  client.send(request("POST", "/v1/responses", asked("please hang", std::string(kFiles))));
  wait_until_hanging(1);
  server_.reset();  // stops at once
  wait_until_stopped(1);
  EXPECT_EQ(engine_->in_flight(), 0U);
}

TEST_F(Responses, ADrainStopsAToolThatOutlivesIt) {
  start_scripted({.drain_timeout = std::chrono::seconds(0)});
  net::TestClient client(port());
  client.send(request("POST", "/v1/responses", asked("please hang", std::string(kFiles) + R"(,"stream":true)")));
  wait_until_hanging(1);
  server_->drain();
  wait_until_stopped(1);
  EXPECT_THAT(client.read_response().body, HasSubstr("cancelled"));
  EXPECT_EQ(engine_->in_flight(), 0U);
}

}  // namespace
}  // namespace autoglm::server

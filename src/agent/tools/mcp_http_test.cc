// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/mcp_http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <thread>

#include "agent/fake_tool.h"
#include "agent/tools/test_server.h"

namespace autoglm::agent {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

constexpr const char* kJson = "application/json";
constexpr const char* kEvents = "text/event-stream";

base::Time soon() { return std::chrono::steady_clock::now() + std::chrono::minutes(2); }

std::string result(std::int64_t id, std::string_view text = "{}") {
  return R"({"jsonrpc":"2.0","id":)" + std::to_string(id) + R"(,"result":)" + std::string(text) + "}";
}

net::HttpResponse answer(const char* type, std::string body, std::vector<net::HttpField> more = {}) {
  more.push_back({"content-type", type});
  return {200, std::move(more), std::move(body)};
}

class McpHttpTest : public testing::Test {
 protected:
  std::unique_ptr<McpTransport> connect() {
    auto transport =
        connect_mcp_http({.url = server_.url("/mcp"), .fields = {{"authorization", "Bearer k"}}, .ca_file = ""},
                         [this](const McpMessage& message) { heard_.push_back(message.method); });
    EXPECT_TRUE(transport) << transport.error().message;
    return std::move(*transport);
  }
  Result<McpMessage> ask(std::int64_t id, std::stop_token stop = {}) {
    return connect()->request(id, mcp_request(id, "x", {}), std::move(stop), soon());
  }

  TestServer server_;
  std::vector<std::string> heard_;
};

TEST_F(McpHttpTest, AnAnswerInJson) {
  server_.on("/mcp", answer(kJson, result(1, R"({"a":1})")));
  EXPECT_EQ(json::format(ask(1)->content), R"({"a":1})");
  const auto request = server_.requests().at(0);
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.field("accept"), "application/json, text/event-stream");
  EXPECT_EQ(request.field("content-type"), kJson);
  EXPECT_EQ(request.field("authorization"), "Bearer k");
  EXPECT_FALSE(request.has_field("mcp-protocol-version"));
}

TEST_F(McpHttpTest, AnAnswerInEventsAmongOtherMessages) {
  server_.on("/mcp", answer(kEvents, "data: {\"jsonrpc\":\"2.0\",\"method\":\"note\"}\n\ndata: " + result(9) +
                                         "\n\nevent: other\ndata: {\n\ndata: " + result(1, R"({"a":2})") + "\n\n"));
  EXPECT_EQ(json::format(ask(1)->content), R"({"a":2})");
  EXPECT_THAT(heard_, testing::ElementsAre("note"));
}

TEST_F(McpHttpTest, TheSessionAndTheVersionAreSentBackAndEnded) {
  server_.on("/mcp", answer(kJson, result(1), {{"mcp-session-id", "s-1"}}));
  {
    const auto transport = connect();
    ASSERT_TRUE(transport->request(1, mcp_request(1, "initialize", {}), {}, soon()));
    transport->set_protocol_version("2025-06-18");
    server_.on("/mcp", {202, {}, ""});
    EXPECT_TRUE(transport->send(mcp_notification("notifications/initialized", {})));
  }
  const auto requests = server_.requests();
  ASSERT_THAT(requests, SizeIs(3));
  EXPECT_FALSE(requests[0].has_field("mcp-session-id"));
  for (const std::size_t i : {1u, 2u}) {
    EXPECT_EQ(requests[i].field("mcp-session-id"), "s-1");
    EXPECT_EQ(requests[i].field("mcp-protocol-version"), "2025-06-18");
  }
  EXPECT_EQ(requests[2].method, "DELETE");
}

TEST_F(McpHttpTest, AStreamThatIsCutIsTakenUpAgainAfterTheTimeThatTheServerNames) {
  server_.on_call("/mcp", [](const net::HttpRequest& request, const auto& exchange) {
    if (request.method == "POST") return exchange->respond(answer(kEvents, "id: e1\nretry: 60\ndata: \n\n"));
    const bool is_second = request.field("last-event-id") == "e1";
    exchange->respond(
        answer(kEvents, is_second ? "id: e2\ndata: \n\n" : "data: " + result(1, R"({"late":true})") + "\n\n"));
  });
  const auto begin = std::chrono::steady_clock::now();
  const auto late = ask(1);
  ASSERT_TRUE(late) << late.error().message;
  EXPECT_EQ(json::format(late->content), R"({"late":true})");
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(120));
  const auto requests = server_.requests();
  ASSERT_THAT(requests, SizeIs(3));
  EXPECT_EQ(requests[1].method, "GET");
  EXPECT_EQ(requests[1].field("accept"), kEvents);
  EXPECT_EQ(requests[2].field("last-event-id"), "e2");
}

TEST_F(McpHttpTest, AStreamWithoutIdsThatEndsIsAnError) {
  server_.on("/mcp", answer(kEvents, "data: {\"jsonrpc\":\"2.0\",\"method\":\"note\"}\n\n"));
  EXPECT_EQ(ask(1).error().code, Code::kCorrupt);
  EXPECT_THAT(server_.requests(), SizeIs(1));
}

TEST_F(McpHttpTest, AForgottenSession) {
  const auto transport = connect();
  server_.on("/mcp", answer(kJson, result(1), {{"mcp-session-id", "s-1"}}));
  ASSERT_TRUE(transport->request(1, mcp_request(1, "initialize", {}), {}, soon()));
  server_.on("/mcp", {404, {}, "unknown session"});
  EXPECT_EQ(transport->request(2, mcp_request(2, "x", {}), {}, soon()).error().code, Code::kNotFound);
  // Without a session a 404 is only a wrong address.
  EXPECT_EQ(transport->request(3, mcp_request(3, "x", {}), {}, soon()).error().code, Code::kCorrupt);
  EXPECT_FALSE(server_.requests().back().has_field("mcp-session-id"));
}

TEST_F(McpHttpTest, StatusesThatAreNoAnswer) {
  const std::pair<int, Code> cases[] = {{401, Code::kPermissionDenied}, {403, Code::kPermissionDenied},
                                        {400, Code::kCorrupt},          {405, Code::kCorrupt},
                                        {500, Code::kUnavailable},      {503, Code::kUnavailable}};
  for (const auto& [status, code] : cases) {
    server_.on("/mcp", {status, {{"content-type", "text/plain"}}, "because \x1b[31m"});
    const auto refused = ask(1);
    EXPECT_EQ(refused.error().code, code) << status;
    EXPECT_THAT(refused.error().message, HasSubstr("because"));
    EXPECT_EQ(refused.error().message.find('\x1b'), std::string::npos);
  }
  server_.on("/mcp", {202, {}, ""});
  EXPECT_EQ(ask(1).error().code, Code::kCorrupt);
  server_.on("/mcp", answer("text/html", "<html>"));
  EXPECT_EQ(ask(1).error().code, Code::kCorrupt);
}

TEST_F(McpHttpTest, RedirectsAreNotFollowed) {
  server_.on("/mcp", {307, {{"location", "/other"}}, ""});
  server_.on("/other", answer(kJson, result(1)));
  EXPECT_FALSE(ask(1));
  EXPECT_THAT(server_.requests(), SizeIs(1));
}

TEST_F(McpHttpTest, ACancelClosesTheRequest) {
  std::stop_source stop;
  std::latch asked(1);
  server_.on_hold("/mcp", [&asked] { asked.count_down(); });
  std::jthread stopper([&] {
    asked.wait();
    stop.request_stop();
  });
  EXPECT_EQ(ask(1, stop.get_token()).error().code, Code::kCancelled);
  const auto late = connect()->request(2, mcp_request(2, "x", {}), {}, std::chrono::steady_clock::now());
  EXPECT_EQ(late.error().code, Code::kDeadline);
}

TEST_F(McpHttpTest, ACancelEndsTheRestBeforeAResume) {
  std::stop_source stop;
  server_.on_call("/mcp", [&stop](const net::HttpRequest&, const auto& exchange) {
    exchange->respond(answer(kEvents, "id: e1\nretry: 29000\ndata: \n\n"));
    stop.request_stop();
  });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(ask(1, stop.get_token()).error().code, Code::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST_F(McpHttpTest, HostileAnswersAreBounded) {
  server_.on("/mcp", answer(kJson, std::string(kMaxMcpMessageBytes + 1, ' ')));
  EXPECT_EQ(ask(1).error().code, Code::kExhausted);
  server_.on("/mcp", answer(kEvents, "data: " + std::string(kMaxMcpMessageBytes + 1, 'x')));
  EXPECT_EQ(ask(1).error().code, Code::kExhausted);
  server_.on("/mcp", answer(kEvents, "data: " + std::string(100'000, '[') + "\n\n"));
  EXPECT_FALSE(ask(1));
  server_.on("/mcp", answer(kJson, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"\xff\"}}"));
  EXPECT_EQ(ask(1).error().code, Code::kCorrupt);
  server_.on("/mcp", answer(kJson, result(1), {{"mcp-session-id", "with blank"}}));
  EXPECT_EQ(ask(1).error().code, Code::kCorrupt);
  server_.on("/mcp", answer(kJson, result(2)));  // an answer to something else
  EXPECT_EQ(ask(1).error().code, Code::kCorrupt);
}

TEST_F(McpHttpTest, OnlyUrlsThatAreOnes) {
  EXPECT_EQ(connect_mcp_http({.url = "ftp://x/", .fields = {}, .ca_file = ""}, {}).error().code,
            Code::kInvalidArgument);
}

}  // namespace
}  // namespace autoglm::agent

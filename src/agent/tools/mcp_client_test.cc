// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/mcp_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/fake_tool.h"

namespace autoglm::agent {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

// A server in a few lines: a function from a request's method and params to its answer.
class FakeServer {
 public:
  using Answer = std::function<Result<McpMessage>(const McpMessage& request, const McpListener& listener)>;

  class Transport final : public McpTransport {
   public:
    Transport(FakeServer& server, McpListener listener) : server_(server), listener_(std::move(listener)) {}
    Result<McpMessage> request(std::int64_t id, const std::string& message, std::stop_token stop, base::Time) override {
      server_.sent.push_back(message);
      if (stop.stop_requested()) return fail(Code::kCancelled, "stopped");
      const McpMessage request = parse_mcp(message).value().at(0);
      EXPECT_EQ(request.id.as_int64(), id);
      return server_.answer(request, listener_);
    }
    Status send(const std::string& message) override {
      server_.sent.push_back(message);
      return {};
    }
    void set_protocol_version(const std::string& spoken) override { server_.version = spoken; }

   private:
    FakeServer& server_;
    McpListener listener_;
  };

  McpConnect connector() {
    return [this](McpListener listener) -> Result<std::unique_ptr<McpTransport>> {
      return std::make_unique<Transport>(*this, std::move(listener));
    };
  }

  static McpMessage result(std::string_view json) {
    McpMessage message;
    message.kind = McpMessage::Kind::kResult;
    message.content = parse_json(json).as_object();
    return message;
  }

  // Initialises well; the rest is the test's.
  Result<McpMessage> answer(const McpMessage& request, const McpListener& listener) {
    if (request.method == "initialize") return result(initialized);
    return on_request(request, listener);
  }

  std::string initialized =
      R"({"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"fake"},"instructions":"Be kind."})";
  Answer on_request;
  std::vector<std::string> sent;
  std::string version;
};

class McpClientTest : public testing::Test {
 protected:
  std::shared_ptr<McpClient> connect() {
    auto client = McpClient::connect(server_.connector(), milliseconds(1000), {});
    EXPECT_TRUE(client) << client.error().message;
    return client.value_or(nullptr);
  }
  void answer_with(std::string text) {
    server_.on_request = [text = std::move(text)](const McpMessage&, const McpListener&) {
      return FakeServer::result(text);
    };
  }
  Result<ToolOutput> call(std::string result) {
    answer_with(std::move(result));
    return connect()->call_tool("t", {}, {});
  }

  FakeServer server_;
  std::vector<std::string> remarks_;
};

TEST_F(McpClientTest, Initialises) {
  const auto client = connect();
  EXPECT_EQ(client->protocol_version(), "2025-06-18");
  EXPECT_EQ(server_.version, "2025-06-18");
  EXPECT_EQ(client->server_name(), "fake");
  EXPECT_EQ(client->instructions(), "Be kind.");
  ASSERT_THAT(server_.sent, SizeIs(2));
  EXPECT_THAT(server_.sent[0], HasSubstr(R"("protocolVersion":"2025-11-25")"));
  EXPECT_EQ(server_.sent[1], R"({"jsonrpc":"2.0","method":"notifications/initialized"})");
}

TEST_F(McpClientTest, VersionsThatWeDoNotSpeakAreRefused) {
  for (const char* text : {R"({"protocolVersion":"1999-01-01"})", R"({"protocolVersion":7})", "{}"}) {
    server_.initialized = text;
    EXPECT_EQ(McpClient::connect(server_.connector(), milliseconds(1000), {}).error().code, Code::kCorrupt) << text;
  }
}

TEST_F(McpClientTest, ListsAllPages) {
  server_.on_request = [](const McpMessage& request, const McpListener&) {
    const bool is_second = request.content.contains("cursor");
    return FakeServer::result(is_second
                                  ? R"({"tools":[{"name":"b","inputSchema":{"type":"object"}}]})"
                                  : R"({"tools":[{"name":"a","description":"does a","inputSchema":{"type":"object"}},
                                             {"inputSchema":{}},{"name":"no schema"},7],"nextCursor":"page 2"})");
  };
  const auto tools = connect()->list_tools(milliseconds(1000), {}, remarks_);
  ASSERT_TRUE(tools) << tools.error().message;
  ASSERT_THAT(*tools, SizeIs(2));
  EXPECT_EQ((*tools)[0].description, "does a");
  EXPECT_EQ((*tools)[1].name, "b");
  EXPECT_THAT(remarks_, SizeIs(3));
}

TEST_F(McpClientTest, ListsWithoutEndAreBounded) {
  answer_with(R"({"tools":[],"nextCursor":"again"})");
  EXPECT_EQ(connect()->list_tools(milliseconds(1000), {}, remarks_).error().code, Code::kCorrupt);
  server_.on_request = [n = 0](const McpMessage&, const McpListener&) mutable {
    return FakeServer::result(R"({"tools":[],"nextCursor":")" + std::to_string(++n) + "\"}");
  };
  EXPECT_EQ(connect()->list_tools(milliseconds(1000), {}, remarks_).error().code, Code::kExhausted);
  answer_with(R"({"tools":"none"})");
  EXPECT_EQ(connect()->list_tools(milliseconds(1000), {}, remarks_).error().code, Code::kCorrupt);
  std::string many = R"({"tools":[)";
  for (int i = 0; i < 600; ++i) many += R"({"name":"t","inputSchema":{}},)";
  many.back() = ']';
  answer_with(many + "}");
  EXPECT_EQ(connect()->list_tools(milliseconds(1000), {}, remarks_).error().code, Code::kExhausted);
}

TEST_F(McpClientTest, NoToolsWhereNoneAreOffered) {
  server_.initialized = R"({"protocolVersion":"2025-11-25","capabilities":{}})";
  const auto tools = connect()->list_tools(milliseconds(1000), {}, remarks_);
  ASSERT_TRUE(tools);
  EXPECT_TRUE(tools->empty());
}

TEST_F(McpClientTest, AnnotationsGiveTheClass) {
  const auto class_with = [this](std::string_view annotations) {
    answer_with(R"({"tools":[{"name":"t","inputSchema":{},"annotations":)" + std::string(annotations) + "}]}");
    return connect()->list_tools(milliseconds(1000), {}, remarks_).value().at(0).tool_class;
  };
  EXPECT_EQ(class_with(R"({"readOnlyHint":true})"), ToolClass::kRead);
  EXPECT_EQ(class_with(R"({"readOnlyHint":true,"openWorldHint":true})"), ToolClass::kExternal);
  EXPECT_EQ(class_with(R"({"readOnlyHint":false})"), ToolClass::kWrite);
  EXPECT_EQ(class_with(R"({"destructiveHint":true})"), ToolClass::kWrite);
  EXPECT_EQ(class_with(R"({"openWorldHint":false})"), ToolClass::kWrite);
  EXPECT_EQ(class_with(R"({"destructiveHint":true,"openWorldHint":true})"), ToolClass::kExternal);
  EXPECT_EQ(class_with("{}"), ToolClass::kExternal);
  EXPECT_EQ(class_with("7"), ToolClass::kExternal);
  EXPECT_EQ(class_with(R"({"readOnlyHint":"true"})"), ToolClass::kExternal);
}

TEST_F(McpClientTest, AnnotationsTellWhatMayBeRepeated) {
  const auto is_idempotent = [this](std::string_view annotations) {
    answer_with(R"({"tools":[{"name":"t","inputSchema":{},"annotations":)" + std::string(annotations) + "}]}");
    return connect()->list_tools(milliseconds(1000), {}, remarks_).value().at(0).is_idempotent;
  };
  EXPECT_TRUE(is_idempotent(R"({"idempotentHint":true})"));
  EXPECT_FALSE(is_idempotent(R"({"idempotentHint":false})"));
  EXPECT_FALSE(is_idempotent(R"({"idempotentHint":"true"})"));
  EXPECT_FALSE(is_idempotent("{}"));
}

TEST_F(McpClientTest, ResultsBecomeText) {
  const auto output =
      call(R"({"content":[{"type":"text","text":"one"},{"type":"image","data":"AAAA","mimeType":"image/png"},
      {"type":"resource","resource":{"uri":"x://1","text":"inner"}},{"type":"resource","resource":{"uri":"x://2","blob":"AAAA"}},
      {"type":"resource_link","uri":"x://3","name":"third"},{"type":"hologram"},5]})");
  ASSERT_TRUE(output) << output.error().message;
  EXPECT_FALSE(output->is_error);
  EXPECT_EQ(output->text,
            "one\n[image: image/png, about 3 bytes]\ninner\n[resource: , about 3 bytes]\n[resource third: x://3]\n"
            "[a part of type hologram]\n[a part that cannot be read]");
  EXPECT_EQ(call(R"({"structuredContent":{"n":1}})")->text, R"({"n":1})");
  EXPECT_EQ(call(R"({"content":[{"type":"text","text":"t"}],"structuredContent":{"n":1}})")->text, "t");
  EXPECT_TRUE(call(R"({"content":[],"isError":true})")->is_error);
  EXPECT_EQ(call(R"({"content":"x"})").error().code, Code::kCorrupt);
}

TEST_F(McpClientTest, ErrorsOfTheProtocol) {
  server_.on_request = [](const McpMessage&, const McpListener&) {
    McpMessage message;
    message.kind = McpMessage::Kind::kError;
    message.error_code = -32602;
    message.error_text = "Unknown tool";
    return message;
  };
  const auto refused = connect()->call_tool("t", {}, {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("Unknown tool"));
}

TEST_F(McpClientTest, ACancelledCallIsSaidSo) {
  const auto client = connect();
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(client->call_tool("t", {}, stop.get_token()).error().code, Code::kCancelled);
  EXPECT_THAT(server_.sent.back(), HasSubstr(R"("method":"notifications/cancelled","params":{"requestId":2,)"));
}

TEST_F(McpClientTest, WhatAServerMayAsk) {
  server_.on_request = [](const McpMessage&, const McpListener& listener) {
    for (const char* text : {R"({"jsonrpc":"2.0","id":"p","method":"ping"})",
                             R"({"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}})",
                             R"({"jsonrpc":"2.0","method":"notifications/tools/list_changed"})",
                             R"({"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}})"})
      listener(parse_mcp(text).value().at(0));
    return FakeServer::result(R"({"content":[]})");
  };
  const auto client = connect();
  server_.sent.clear();
  ASSERT_TRUE(client->call_tool("t", {}, {}));
  ASSERT_THAT(server_.sent, SizeIs(3));
  EXPECT_EQ(server_.sent[1], R"({"jsonrpc":"2.0","id":"p","result":{}})");
  EXPECT_THAT(server_.sent[2], HasSubstr("-32601"));
}

TEST_F(McpClientTest, AForgottenSessionIsBegunAnewOnce) {
  server_.on_request = [n = 0](const McpMessage&, const McpListener&) mutable -> Result<McpMessage> {
    if (++n == 1) return fail(Code::kNotFound, "forgotten");
    return FakeServer::result(R"({"content":[{"type":"text","text":"ok"}]})");
  };
  EXPECT_EQ(connect()->call_tool("t", {}, {})->text, "ok");
  EXPECT_THAT(server_.sent, SizeIs(6));  // initialize, initialized, call, initialize, initialized, call
  server_.on_request = [](const McpMessage&, const McpListener&) -> Result<McpMessage> {
    return fail(Code::kNotFound, "forgotten");
  };
  EXPECT_EQ(connect()->call_tool("t", {}, {}).error().code, Code::kNotFound);
}

}  // namespace
}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
#include "server/response_stream.h"

#include "server/routes.h"
#include "server/server_fixture.h"

namespace autoglm::server {
namespace {

using testing::HasSubstr;

constexpr std::string_view kCounted = "openautoglm_errors_total{code=\"cancelled\"} 1\n";

class DeafExchange final : public net::Exchange {
 public:
  void respond(net::HttpResponse) override {}
  void stream(net::HttpResponse, std::shared_ptr<net::BodySource>, std::string) override {}
  void wake() override {}
  void when_gone(std::function<void()>) override {}
};

TEST(ResponseStream, WhatWaitsIsBounded) {
  const base::SystemClock clock;
  telemetry::Registry metrics(clock);
  const auto reply = std::make_shared<Reply>(std::make_shared<DeafExchange>(),
                                             Asked{"POST", find_route("POST", "/v1/responses").route, "id"},
                                             std::vector<net::HttpField>(), std::make_shared<Measures>(metrics, clock));
  int overfull = 0;
  constexpr std::size_t kEventBytes = 64u << 10;
  constexpr std::size_t kMost = 16;
  ResponseStream stream(reply, kMost * kEventBytes, [&overfull] { ++overfull; });
  const auto push = [&stream, text = std::string(kEventBytes, 'x')](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) stream.push("response.output_text.delta", {{"delta", text}});
  };
  push(kMost);
  std::string sent;
  EXPECT_FALSE(stream.pull(sent));  // a client that reads has all the room again
  push(kMost);
  EXPECT_EQ(overfull, 0);
  push(3);
  EXPECT_EQ(overfull, 1);
  sent.clear();
  EXPECT_TRUE(stream.pull(sent));
  EXPECT_GT(sent.size(), kMost * kEventBytes);
  EXPECT_LT(sent.size(), (kMost + 1) * kEventBytes);
  EXPECT_THAT(sent.substr(sent.size() - 300), HasSubstr("\nevent: error\n"));
  EXPECT_THAT(metrics.expose(), HasSubstr(kCounted));
}

class SlowReaders : public ServerFixture {};

TEST_F(SlowReaders, AResponseThatNobodyReadsEnds) {
  constexpr std::size_t kMost = 64u << 10;
  start({.max_unread_bytes = kMost});
  net::TestClient client(port());
  client.send(request("POST", "/v1/responses", R"({"model":"fake-model","input":"[flood]","stream":true})"));
  generator_->wait_until_cancelled(1);
  // A late reader is told why, and of no end that it did not have.
  const net::RawResponse late = client.read_response();
  EXPECT_TRUE(late.is_complete);
  EXPECT_GT(late.body.size(), kMost);
  EXPECT_THAT(late.body.substr(late.body.size() - 300), HasSubstr("\nevent: error\ndata: {\"type\":\"error\""));
  EXPECT_THAT(late.body, testing::Not(HasSubstr("response.completed")));
  const std::string counted = get("/metrics").body;
  EXPECT_THAT(counted, HasSubstr(kCounted));
  EXPECT_THAT(counted, HasSubstr("openautoglm_streams_in_flight 0\n"));
  EXPECT_EQ(generator_->in_flight(), 0u);
}

}  // namespace
}  // namespace autoglm::server

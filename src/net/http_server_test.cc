// SPDX-License-Identifier: Apache-2.0
// The server on a real loopback socket: raw requests in, raw responses out, limits at their bounds, streams, leaving
// clients.
#include "net/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <thread>

#include "base/bounded_queue.h"
#include "base/mutex.h"
#include "net/test_client.h"

namespace autoglm::net {
namespace {

using namespace std::string_literals;
using std::chrono::milliseconds;

// A body whose pieces a test hands over one by one.
class TestSource final : public BodySource {
 public:
  bool pull(std::string& out) override EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    out.append(std::exchange(ready_, {}));
    return is_complete_;
  }
  void add(std::string_view text, bool is_complete = false) EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    ready_.append(text);
    is_complete_ = is_complete;
  }

 private:
  base::Mutex mutex_;
  std::string ready_ GUARDED_BY(mutex_);
  bool is_complete_ GUARDED_BY(mutex_) = false;
};

// Echoes bodies; /hold and /stream give their exchange to the test.
class EchoService final : public HttpService {
 public:
  std::optional<HttpResponse> refuse(const HttpRequest& head) override {
    if (head.path == "/refused") return HttpResponse{.status = 403, .fields = {}, .body = "no"};
    return std::nullopt;
  }
  void serve(HttpRequest request, std::shared_ptr<Exchange> exchange) override {
    if (request.path == "/hold") {
      CHECK(held.push(std::move(exchange)));
    } else if (request.path == "/drop") {
      exchange.reset();
    } else if (request.path == "/split") {
      exchange->respond({.status = 200, .fields = {{"X", "a\r\nEvil: b"}}, .body = "secret"});
    } else {
      exchange->respond(
          {.status = 200, .fields = {{"Content-Type", "text/plain"}}, .body = request.method + " " + request.body});
    }
  }
  HttpResponse explain(const HttpFault& fault) override {
    return {.status = fault.status, .fields = {}, .body = fault.message};
  }

  base::BoundedQueue<std::shared_ptr<Exchange>> held{64, base::WhenFull::kRefuse};
};

class ServerTest : public testing::Test {
 protected:
  void start(HttpServerOptions options = {}) {
    auto server = bind_http_server(options, service_, clock_);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
    server_->start();
  }
  std::uint16_t port() const { return server_->port(); }

  base::SystemClock clock_;
  EchoService service_;
  std::unique_ptr<HttpServer> server_;
};

const std::string kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const std::string kHold = "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n";

std::string post(std::string_view body, std::string_view path = "/") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + std::string(body);
}

TEST_F(ServerTest, AnswersAndKeepsTheConnection) {
  start();
  TestClient client(port());
  for (int i = 0; i < 3; ++i) {
    client.send(post("hello"));
    const RawResponse response = client.read_response();
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, "POST hello");
    EXPECT_TRUE(response.field("connection").empty());
    EXPECT_FALSE(response.field("date").empty());
  }
}

TEST_F(ServerTest, AnswersPipelinedRequestsInOrder) {
  start();
  TestClient client(port());
  client.send(post("1") + post("2") + "\r\n" + kGet);
  EXPECT_EQ(client.read_response().body, "POST 1");
  EXPECT_EQ(client.read_response().body, "POST 2");
  EXPECT_EQ(client.read_response().body, "GET ");
}

TEST_F(ServerTest, ReadsRequestsByteByByte) {
  start();
  TestClient client(port());
  for (char c :
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: u\r\n\r\n"s) {
    client.send({&c, 1});
  }
  EXPECT_EQ(client.read_response().body, "POST abcde");
  client.send(kGet);
  EXPECT_EQ(client.read_response().status, 200);
}

TEST_F(ServerTest, HeadHasNoBody) {
  start();
  TestClient client(port());
  client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + kGet);
  const RawResponse head = client.read_response(true);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.field("content-length"), "5");
  EXPECT_EQ(client.read_response().body, "GET ");
}

TEST_F(ServerTest, ClosesWhenAskedTo) {
  start();
  for (const char* head : {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n",
                           "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"}) {
    TestClient client(port());
    client.send(head);
    const RawResponse response = client.read_response();
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.field("connection"), "close");
    EXPECT_TRUE(client.is_closed_by_server());
  }
}

TEST_F(ServerTest, T_G4_FaultsAreAnsweredAndEndTheConnection) {
  start();
  const std::vector<std::pair<std::string, int>> faults = {
      {"nonsense\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + kGet, 400},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n" + kGet, 400},
      {"POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\na", 417},
      {std::string(1 << 16, 'a'), 431},
      {"\n\n\n", 400},
  };
  for (const auto& [bytes, status] : faults) {
    TestClient client(port());
    client.send(bytes);
    const RawResponse response = client.read_response();
    EXPECT_EQ(response.status, status) << bytes.substr(0, 80);
    EXPECT_EQ(response.field("connection"), "close");
    EXPECT_TRUE(client.is_closed_by_server()) << bytes.substr(0, 80);
  }
}

// Streams that are opened and reset, or headers without end (CVE-2023-44487, CVE-2024-27316), need an HTTP/2 server.
TEST_F(ServerTest, T_G3_Http2IsNotSpoken) {
  start();
  EXPECT_EQ(exchange_bytes(port(), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status, 400);
  const std::string upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
  const RawResponse response = exchange_bytes(port(), "GET / HTTP/1.1\r\nHost: a\r\n" + upgrade + "\r\n");
  EXPECT_EQ(response.status, 200) << "the upgrade is passed over, as RFC 9110, 7.8 allows";
  EXPECT_TRUE(response.field("upgrade").empty());
}

TEST_F(ServerTest, T_G2_BodyLimitHoldsExactly) {
  start({.max_body_bytes = 1000});
  EXPECT_EQ(exchange_bytes(port(), post(std::string(1000, 'a'))).status, 200);
  EXPECT_EQ(exchange_bytes(port(), post(std::string(1001, 'a'))).status, 413);
  // By its length alone: not a byte of the body has to come.
  EXPECT_EQ(exchange_bytes(port(), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\n").status, 413);
  const std::string chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(exchange_bytes(port(), chunked + "3e8\r\n" + std::string(1000, 'a') + "\r\n0\r\n\r\n").status, 200);
  EXPECT_EQ(exchange_bytes(port(), chunked + "3e9\r\n" + std::string(1001, 'a') + "\r\n0\r\n\r\n").status, 413);
}

// 3 MB of chunks of one byte each ended another server, which took stack for every one (CVE-2025-23310).
TEST_F(ServerTest, T_G1_ManyTinyChunksAreOneBody) {
  start();
  constexpr std::size_t kChunks = 500'000;
  std::string bytes = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (std::size_t i = 0; i < kChunks; ++i) bytes += "1\r\nx\r\n";
  const RawResponse response = exchange_bytes(port(), bytes + "0\r\n\r\n");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body.size(), std::string_view("POST ").size() + kChunks);
}

TEST_F(ServerTest, BodiesOfAllConnectionsAreBoundedTogether) {
  start({.max_body_bytes = 1000, .max_buffered_body_bytes = 1500});
  TestClient first(port());
  first.send(post(std::string(1000, 'a'), "/hold"));
  auto exchange = service_.held.pop();
  EXPECT_EQ(exchange_bytes(port(), post(std::string(501, 'b'))).status, 503);
  EXPECT_EQ(exchange_bytes(port(), post(std::string(500, 'b'))).status, 200);
  (*exchange)->respond({.status = 200, .fields = {}, .body = "done"});
  EXPECT_EQ(first.read_response().body, "done");
  EXPECT_EQ(exchange_bytes(port(), post(std::string(1000, 'b'))).status, 200);
}

TEST_F(ServerTest, RefusalByHeadReadsNoBody) {
  start();
  TestClient client(port());
  client.send("POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
  EXPECT_EQ(client.read_response().status, 403);
  EXPECT_TRUE(client.is_closed_by_server() || client.received().empty());
  TestClient other(port());
  other.send("GET /refused HTTP/1.1\r\nHost: a\r\n\r\n" + kGet);  // without a body the connection goes on
  EXPECT_EQ(other.read_response().status, 403);
  EXPECT_EQ(other.read_response().status, 200);
}

TEST_F(ServerTest, AskingToContinueIsAnswered) {
  start();
  TestClient client(port());
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.read_response().status, 100);
  client.send("ok");
  EXPECT_EQ(client.read_response().body, "POST ok");
}

TEST_F(ServerTest, SlowHeadsAndBodiesExpire) {
  start({.head_timeout = milliseconds(50), .body_timeout = milliseconds(50)});
  EXPECT_EQ(exchange_bytes(port(), "GET / HT").status, 408);
  EXPECT_EQ(exchange_bytes(port(), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab").status, 408);
  EXPECT_EQ(exchange_bytes(port(), "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab").status,
            408);
  TestClient silent(port());
  EXPECT_TRUE(silent.is_closed_by_server());
}

TEST_F(ServerTest, IdleConnectionsExpire) {
  start({.idle_timeout = milliseconds(50)});
  TestClient client(port());
  client.send(kGet);
  EXPECT_EQ(client.read_response().status, 200);
  EXPECT_TRUE(client.is_closed_by_server());
}

TEST_F(ServerTest, ConnectionsAreBounded) {
  start({.max_connections = 2});
  TestClient first(port());
  TestClient second(port());
  for (TestClient* client : {&first, &second}) {
    client->send(kGet);
    EXPECT_EQ(client->read_response().status, 200);
  }
  TestClient third(port());
  EXPECT_EQ(third.read_response().status, 503);
}

TEST_F(ServerTest, StreamsEachPieceAtOnce) {
  start();
  TestClient client(port());
  client.send(kHold);
  auto exchange = service_.held.pop();
  auto source = std::make_shared<TestSource>();
  source->add("first\n");
  (*exchange)->stream({.status = 200, .fields = {{"Content-Type", "text/event-stream"}}, .body = {}}, source,
                      ": comment\n\n");
  EXPECT_TRUE(client.read_until("first\n"));
  source->add("second\n");
  (*exchange)->wake();
  EXPECT_TRUE(client.read_until("second\n"));
  source->add("last\n", true);
  (*exchange)->wake();
  const RawResponse response = client.read_response();
  EXPECT_EQ(response.field("transfer-encoding"), "chunked");
  EXPECT_EQ(response.body, "first\nsecond\nlast\n");
  EXPECT_TRUE(response.is_complete);
  client.send(kGet);
  EXPECT_EQ(client.read_response().status, 200);
}

TEST_F(ServerTest, QuietStreamsCarryComments) {
  start({.comment_interval = milliseconds(5)});
  TestClient client(port());
  client.send(kHold);
  auto exchange = service_.held.pop();
  auto source = std::make_shared<TestSource>();
  (*exchange)->stream({}, source, ": quiet\n\n");
  EXPECT_TRUE(client.read_until(": quiet\n\n\r\n9\r\n: quiet\n\n"));
  source->add("", true);
  (*exchange)->wake();
  EXPECT_TRUE(client.read_until("0\r\n\r\n"));
}

TEST_F(ServerTest, StreamsToHttp10WithoutChunks) {
  start();
  TestClient client(port());
  client.send("GET /hold HTTP/1.0\r\n\r\n");
  auto exchange = service_.held.pop();
  auto source = std::make_shared<TestSource>();
  source->add("all of it", true);
  (*exchange)->stream({}, source, "");
  const RawResponse response = client.read_response();
  EXPECT_TRUE(response.field("transfer-encoding").empty());
  EXPECT_EQ(response.body, "all of it");
}

// Waits for a callback on the network thread.
class Flag final {
 public:
  void raise() EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  void wait() EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    while (count_ == 0) lock.wait(changed_);
  }
  int count() EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    return count_;
  }

 private:
  base::Mutex mutex_;
  std::condition_variable changed_;
  int count_ GUARDED_BY(mutex_) = 0;
};

TEST_F(ServerTest, LeavingIsNoticedBeforeAndDuringTheAnswer) {
  start();
  for (bool is_streaming : {false, true}) {
    for (int way = 0; way < 3; ++way) {
      TestClient client(port());
      client.send(kHold);
      auto exchange = service_.held.pop();
      auto source = std::make_shared<TestSource>();
      Flag gone;
      (*exchange)->when_gone([&] { gone.raise(); });
      if (is_streaming) {
        source->add("x");
        (*exchange)->stream({}, source, "");
        EXPECT_TRUE(client.read_until("x"));
      }
      if (way == 0) client.close();
      if (way == 1) client.abort();
      if (way == 2) client.half_close();
      gone.wait();
      (*exchange)->wake();
      (*exchange)->respond({});
      EXPECT_EQ(gone.count(), 1);
    }
  }
}

TEST_F(ServerTest, LeavingIsToldToThoseWhoAskLate) {
  start();
  TestClient client(port());
  client.send(kHold);
  auto exchange = service_.held.pop();
  client.abort();
  Flag gone;
  (*exchange)->when_gone([&] { gone.raise(); });
  gone.wait();
}

TEST_F(ServerTest, ClientsThatDoNotReadAreCutOff) {
  start({.write_timeout = milliseconds(100)});
  TestClient client(port());
  client.send(kHold);
  auto exchange = service_.held.pop();
  auto source = std::make_shared<TestSource>();
  Flag gone;
  (*exchange)->when_gone([&] { gone.raise(); });
  source->add(std::string(64u << 20, 'x'));  // more than the socket buffers of both sides hold
  (*exchange)->stream({}, source, "");
  gone.wait();
  EXPECT_EQ(exchange_bytes(port(), kGet).status, 200);
}

TEST_F(ServerTest, DroppedExchangesAndBadFieldsAreInternalErrors) {
  start();
  EXPECT_EQ(exchange_bytes(port(), "GET /drop HTTP/1.1\r\nHost: a\r\n\r\n").status, 500);
  const RawResponse split = exchange_bytes(port(), "GET /split HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(split.status, 500);
  EXPECT_THAT(split.head + split.body,
              testing::Not(testing::AnyOf(testing::HasSubstr("Evil"), testing::HasSubstr("secret"))));
}

TEST_F(ServerTest, PortsThatAreTakenAreNamed) {
  start();
  auto second = bind_http_server({.port = port()}, service_, clock_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kUnavailable);
  EXPECT_THAT(second.error().message, testing::HasSubstr(std::to_string(port())));
  auto nowhere = bind_http_server({.host = "example.org"}, service_, clock_);
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code, Code::kInvalidArgument);
}

TEST_F(ServerTest, ClosingIdleLetsPresentAnswersEnd) {
  start();
  TestClient idle(port());
  idle.send(kGet);
  EXPECT_EQ(idle.read_response().status, 200);
  TestClient busy(port());
  busy.send(kHold);
  auto exchange = service_.held.pop();
  server_->close_idle();
  EXPECT_TRUE(idle.is_closed_by_server());
  (*exchange)->respond({.status = 200, .fields = {}, .body = "last"});
  const RawResponse response = busy.read_response();
  EXPECT_EQ(response.body, "last");
  EXPECT_EQ(response.field("connection"), "close");
  EXPECT_TRUE(busy.is_closed_by_server());
}

TEST_F(ServerTest, ExchangesMayOutliveTheServer) {
  start();
  TestClient client(port());
  client.send(kHold);
  auto exchange = service_.held.pop();
  server_.reset();
  (*exchange)->respond({});
  (*exchange)->wake();
  exchange.reset();
  EXPECT_TRUE(client.is_closed_by_server());
}

TEST_F(ServerTest, ManyThreadsFeedManyStreams) {
  start();
  constexpr int kStreams = 32;
  constexpr int kPieces = 200;
  std::vector<std::unique_ptr<TestClient>> clients;
  std::vector<std::thread> feeders;
  for (int i = 0; i < kStreams; ++i) {
    clients.push_back(std::make_unique<TestClient>(port()));
    clients.back()->send(kHold);
    feeders.emplace_back([exchange = std::move(*service_.held.pop())] {
      auto source = std::make_shared<TestSource>();
      exchange->stream({}, source, "");
      for (int piece = 0; piece < kPieces; ++piece) {
        source->add("piece " + std::to_string(piece) + "\n", piece + 1 == kPieces);
        exchange->wake();
      }
    });
  }
  std::string expected;
  for (int piece = 0; piece < kPieces; ++piece) expected += "piece " + std::to_string(piece) + "\n";
  for (auto& feeder : feeders) feeder.join();
  for (auto& client : clients) EXPECT_EQ(client->read_response().body, expected);
}

}  // namespace
}  // namespace autoglm::net

// SPDX-License-Identifier: Apache-2.0
// Who may call what: the route table without and with keys, hosts, origins, methods, content types; health, draining,
// limits.
#include "server/server.h"

#include <algorithm>
#include <functional>
#include <regex>
#include <set>
#include <thread>

#include "base/log.h"
#include "server/routes.h"
#include "server/server_fixture.h"

namespace autoglm::server {
namespace {

using testing::HasSubstr;

constexpr std::string_view kKey = "a-key-of-sixteen-characters";

class ServerTest : public ServerFixture {
 protected:
  static std::string bearer(std::string_view key) { return "Authorization: Bearer " + std::string(key) + "\r\n"; }
  net::RawResponse call(const Route& route, std::string_view fields) const {
    const std::string path = route.path.ends_with('*') ? "/v1/models/fake-model" : std::string(route.path);
    return net::exchange_bytes(port(), request(route.method, path, chat("x"), fields));
  }
};

TEST_F(ServerTest, EveryRouteButHealthNeedsAKey) {
  start({.api_keys = {std::string(kKey), "another-key-of-some-length"}});
  for (const Route& route : all_routes()) {
    const bool is_open = route.path == "/healthz";
    EXPECT_EQ(call(route, "").status, is_open ? 200 : 401) << route.path;
    EXPECT_NE(call(route, bearer(kKey)).status, 401) << route.path;
    EXPECT_NE(call(route, bearer("another-key-of-some-length")).status, 401) << route.path;
  }
  expect_error(get("/nothing/here"), 401, "invalid_api_key");  // without a key not even which paths exist
  EXPECT_EQ(get("/nothing/here", bearer(kKey)).status, 404);
}

TEST_F(ServerTest, KeysMustMatchWholly) {
  start({.api_keys = {std::string(kKey)}});
  const std::string key(kKey);
  for (const std::string& fields :
       {bearer(""), bearer(key.substr(0, 20)), bearer(key + "x"), bearer(" " + key), "Authorization: " + key + "\r\n",
        "Authorization: Basic " + key + "\r\n", bearer(key) + bearer(key), bearer("A" + key.substr(1)),
        "X-Api-Key: " + key + "\r\n"}) {
    const net::RawResponse response = get("/v1/models", fields);
    expect_error(response, 401, "invalid_api_key");
    EXPECT_EQ(response.field("www-authenticate"), "Bearer");
  }
  EXPECT_EQ(get("/v1/models", "authorization: bearer " + key + "\r\n").status, 200);
}

TEST_F(ServerTest, WithoutKeysOnlyLoopbackIsBound) {
  FakeGenerator generator;
  for (const char* host : {"0.0.0.0", "::", "192.0.2.1"}) {
    auto server = start_server(generator, {.host = host, .port = 0}, clock_, metrics_);
    ASSERT_FALSE(server) << host;
    EXPECT_EQ(server.error().code, Code::kPermissionDenied) << host;
  }
  EXPECT_TRUE(
      start_server(generator, {.host = "0.0.0.0", .port = 0, .api_keys = {std::string(kKey)}}, clock_, metrics_));
  EXPECT_FALSE(start_server(generator, {.port = 0, .api_keys = {""}}, clock_, metrics_));
  EXPECT_FALSE(start_server(generator, {.port = 0, .api_keys = {"two words of a key"}}, clock_, metrics_));
}

TEST_F(ServerTest, OptionsAreCheckedWithoutAModel) {
  EXPECT_EQ(check_options({.host = "0.0.0.0", .port = 0}).error().code, Code::kPermissionDenied);
  EXPECT_EQ(check_options({.host = "nowhere", .port = 0, .api_keys = {std::string(kKey)}}).error().code,
            Code::kInvalidArgument);
  start();
  EXPECT_EQ(check_options({.port = port()}).error().code, Code::kUnavailable);
  const std::uint16_t port_of_old = port();
  server_.reset();
  ASSERT_TRUE(check_options({.port = port_of_old}));
  EXPECT_TRUE(start_server(*generator_, {.port = port_of_old}, clock_, metrics_));  // the port was left free
}

TEST_F(ServerTest, T_G5_HostsAreOnAList) {
  start({.allowed_hosts = {"Models.example"}});
  const auto status = [&](std::string_view host) {
    return net::exchange_bytes(port(), "GET /healthz HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n").status;
  };
  const std::string p = ":" + std::to_string(port());
  for (const std::string& host : {"localhost" + p, "127.0.0.1" + p, std::string("LOCALHOST"), "[::1]" + p,
                                  std::string("models.example"), "models.EXAMPLE" + p}) {
    EXPECT_EQ(status(host), 200) << host;
  }
  for (const std::string& host :
       {std::string("evil.example"), "evil.example" + p, std::string("localhost.evil.example"),
        std::string("127.0.0.1.nip.io"), std::string("localhost:"), std::string("localhost:80x"),
        std::string("192.0.2.7"), std::string("")}) {
    EXPECT_EQ(status(host), 403) << host;
  }
}

TEST(ServerOptionsTest, AnOriginIsOneThatABrowserSends) {
  for (const char* origin : {"*", "https://app.example", "http://127.0.0.1:3000", "http://[::1]:3000"}) {
    EXPECT_TRUE(check_options({.allowed_origins = {origin}})) << origin;
  }
  for (const char* origin :
       {"", "foo", "app.example", "://x", "https://", "https://app.example/", "https://*.example"}) {
    const Status status = check_options({.allowed_origins = {origin}});
    ASSERT_FALSE(status) << origin;
    EXPECT_EQ(status.error().where, "allowed_origins");
  }
}

TEST_F(ServerTest, T_G5_OriginsAreDeniedUnlessAllowed) {
  start({.allowed_origins = {"https://app.example"}});
  const net::RawResponse plain = get("/v1/models");
  EXPECT_TRUE(plain.field("access-control-allow-origin").empty());
  for (const char* origin : {"https://evil.example", "null", "https://app.example.evil.example", "http://app.example",
                             "", "http://localhost:1"}) {
    EXPECT_EQ(get("/v1/models", "Origin: " + std::string(origin) + "\r\n").status, 403) << origin;
    EXPECT_EQ(post("/v1/chat/completions", chat("x"), "Origin: " + std::string(origin) + "\r\n").status, 403) << origin;
  }
  EXPECT_TRUE(generator_->submitted().empty());
  const net::RawResponse allowed = post("/v1/chat/completions", chat("x"), "Origin: https://app.example\r\n");
  EXPECT_EQ(allowed.status, 200);
  EXPECT_EQ(allowed.field("access-control-allow-origin"), "https://app.example");
  EXPECT_EQ(allowed.field("vary"), "Origin");
  EXPECT_TRUE(allowed.field("access-control-allow-credentials").empty());
  EXPECT_EQ(get("/v1/models", "Origin: http://localhost\r\n").status, 200);  // our own page
}

TEST_F(ServerTest, PreflightsOfAllowedOriginsAreAnswered) {
  start({.api_keys = {std::string(kKey)}, .allowed_origins = {"https://app.example"}});
  const std::string preflight =
      "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,x-stainless-os\r\n";
  const auto ask = [&](std::string_view origin) {
    return net::exchange_bytes(
        port(), request("OPTIONS", "/v1/chat/completions", {}, "Origin: " + std::string(origin) + "\r\n" + preflight));
  };
  const net::RawResponse allowed = ask("https://app.example");
  EXPECT_EQ(allowed.status, 204);
  EXPECT_EQ(allowed.field("access-control-allow-origin"), "https://app.example");
  EXPECT_EQ(allowed.field("access-control-allow-headers"), "authorization,x-stainless-os");
  EXPECT_THAT(allowed.field("access-control-allow-methods"), HasSubstr("POST"));
  EXPECT_EQ(ask("https://evil.example").status, 403);
  // Errors can be read by the page too, or its author would never learn what is wrong.
  const net::RawResponse refused = get("/v1/models", "Origin: https://app.example\r\n");
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.field("access-control-allow-origin"), "https://app.example");
}

TEST_F(ServerTest, AnyOriginCanBeAllowed) {
  start({.allowed_origins = {"*"}});
  EXPECT_EQ(get("/v1/models", "Origin: https://who.example\r\n").field("access-control-allow-origin"), "*");
}

TEST_F(ServerTest, OtherMethodsAndPathsAreRefused) {
  start();
  const net::RawResponse wrong = get("/v1/chat/completions");
  EXPECT_THAT(expect_error(wrong, 405, "invalid_argument"),
              testing::AllOf(testing::HasSubstr("/v1/chat/completions"), testing::HasSubstr("GET")));
  EXPECT_EQ(wrong.field("allow"), "POST");
  EXPECT_EQ(post("/v1/models", "{}").field("allow"), "GET, HEAD");
  for (const char* path :
       {"/v1", "/v1/", "/v1/chat/completions/", "//healthz", "/healthz/", "/v1/models/", "/..%2fhealthz", "/HEALTHZ"}) {
    EXPECT_THAT(expect_error(get(path), 404, "not_found"), testing::HasSubstr(path));
  }
  EXPECT_LT(expect_error(get("/" + std::string(5000, 'x')), 404, "not_found").size(), 300u);
  net::TestClient head(port());
  head.send(request("HEAD", "/v1/models"));
  EXPECT_EQ(head.read_response(true).status, 200);
}

TEST_F(ServerTest, T_G5_OnlyJsonIsPosted) {
  start();
  const auto status = [&](const std::string& fields) {
    const std::string body = chat("x");
    return net::exchange_bytes(port(), "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n" + fields +
                                           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body)
        .status;
  };
  EXPECT_EQ(status("Content-Type: application/json\r\n"), 200);
  EXPECT_EQ(status("Content-Type: Application/JSON ; charset=utf-8\r\n"), 200);
  for (const char* type :
       {"", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: application/jsonx\r\n", "Content-Type: application/json\r\nContent-Encoding: gzip\r\n"}) {
    EXPECT_EQ(status(type), 415) << type;
  }
}

TEST_F(ServerTest, BytesThatAreNoRequestGetJsonErrors) {
  start({.max_body_bytes = 1000, .max_header_bytes = 1000});
  expect_error(net::exchange_bytes(port(), "nonsense\r\n\r\n"), 400, "invalid_argument");
  expect_error(
      net::exchange_bytes(port(), "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(1000, 'a') + "\r\n\r\n"),
      431, "invalid_argument");
  const std::string fits = chat(std::string(1000 - chat("").size(), 'a'));
  EXPECT_EQ(fits.size(), 1000u);
  EXPECT_EQ(post("/v1/chat/completions", fits).status, 200);
  expect_error(post("/v1/chat/completions", fits + " "), 413, "invalid_argument");
}

TEST_F(ServerTest, EveryAnswerCarriesItsOwnId) {
  start({.api_keys = {std::string(kKey)}, .allowed_origins = {"https://app.example"}, .max_body_bytes = 1000});
  const std::string key = bearer(kKey);
  const std::string chunked = "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + key +
                              "Transfer-Encoding: chunked\r\n\r\n";
  const std::vector<std::pair<std::string, int>> cases = {
      {request("GET", "/healthz"), 200},
      {request("POST", "/v1/chat/completions", chat("x"), key), 200},
      {request("POST", "/v1/chat/completions", chat("x", R"("stream":true)"), key), 200},
      {request("OPTIONS", "/tokenize", {}, "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n"),
       204},
      {request("POST", "/v1/chat/completions", "{", key), 400},
      {"nonsense\r\n\r\n", 400},
      {request("GET", "/v1/models"), 401},
      {"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403},
      {request("GET", "/healthz", {}, "Origin: https://evil.example\r\n"), 403},
      {request("GET", "/nothing", {}, key), 404},
      {request("GET", "/tokenize", {}, key), 405},
      {request("POST", "/tokenize", std::string(1001, 'x'), key), 413},
      {chunked + "3e9\r\n", 413},
      {chunked + "x\r\n", 400},
      {"POST /tokenize HTTP/1.1\r\nHost: localhost\r\n" + key + "Content-Length: 2\r\n\r\n{}", 415},
      {request("POST", "/tokenize", "{}", key + "Expect: something\r\n"), 417},
      {"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(1u << 16, 'a') + "\r\n\r\n", 431},
      {"GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n", 505},
  };
  std::set<std::string> ids;
  for (const auto& [bytes, status] : cases) {
    const net::RawResponse response = net::exchange_bytes(port(), bytes);
    EXPECT_EQ(response.status, status) << bytes.substr(0, 200);
    EXPECT_EQ(response.field("x-request-id").size(), 24u) << bytes.substr(0, 200);
    EXPECT_EQ(response.field("x-content-type-options"), "nosniff");
    EXPECT_EQ(response.field("cache-control"), "no-store");
    ids.insert(response.field("x-request-id"));
  }
  EXPECT_EQ(ids.size(), cases.size());
}

TEST_F(ServerTest, ModelsAreListed) {
  start();
  const json::Value list = parsed(get("/v1/models").body);
  EXPECT_EQ(text_of(at(list, "object")), "list");
  EXPECT_EQ(text_of(at(list, "data", 0, "id")), "fake-model");
  EXPECT_EQ(text_of(at(list, "data", 0, "object")), "model");
  EXPECT_EQ(text_of(at(list, "data", 0, "max_model_len")), "4096");
  EXPECT_EQ(text_of(at(parsed(get("/v1/models/fake-model").body), "id")), "fake-model");
  EXPECT_EQ(get("/v1/models/fake%2Dmodel").status, 200);
  expect_error(get("/v1/models/other"), 404, "model_not_found", "model");
  expect_error(get("/v1/models/a%2fb"), 404, "model_not_found", "model");
  expect_error(get("/v1/models/%zz"), 400, "invalid_argument", "model");
}

TEST_F(ServerTest, TextAndTokensAreExchanged) {
  start();
  const json::Value tokens = parsed(post("/tokenize", R"({"prompt":"ab"})").body);
  EXPECT_EQ(text_of(at(tokens, "tokens")), "[258,97,98]");
  EXPECT_EQ(text_of(at(tokens, "count")), "3");
  EXPECT_EQ(text_of(at(tokens, "max_model_len")), "4096");
  EXPECT_EQ(text_of(at(parsed(post("/tokenize", R"({"content":"ab","add_special_tokens":false})").body), "tokens")),
            "[97,98]");
  const std::string messages = R"({"messages":[{"role":"user","content":"a"}]})";
  EXPECT_EQ(text_of(at(parsed(post("/tokenize", messages).body), "tokens", 0)), "256");
  EXPECT_EQ(text_of(at(parsed(post("/detokenize", R"({"tokens":[258,97,98]})").body), "prompt")), "<s>ab");
  EXPECT_EQ(
      text_of(at(parsed(post("/detokenize", R"({"tokens":[258,97],"skip_special_tokens":true})").body), "content")),
      "a");
  expect_error(post("/detokenize", R"({"tokens":[999]})"), 400, "invalid_argument", "tokens");
  expect_error(post("/tokenize", R"({"model":"other","prompt":"a"})"), 404, "model_not_found", "model");
}

TEST_F(ServerTest, MetricsCountWhatHappened) {
  start();
  post("/v1/chat/completions", chat("x"));
  post("/v1/completions", completion("[error]", R"("stream":true)"));
  get("/nothing");
  const net::RawResponse response = get("/metrics");
  EXPECT_EQ(response.field("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_THAT(response.body, HasSubstr("openautoglm_http_requests_total{route=\"/v1/chat/completions\"} 1"));
  EXPECT_THAT(response.body, HasSubstr("openautoglm_errors_total{code=\"not_found\"} 1"));
  EXPECT_THAT(response.body, HasSubstr("openautoglm_errors_total{code=\"internal\"} 1"));  // amid a stream
  EXPECT_THAT(response.body, HasSubstr("openautoglm_connections_total 4"));
}

TEST_F(ServerTest, PageShowsTheModelAndRunsNothing) {
  start();
  generator_->card_for_test().name = "<script>alert('x')</script>";
  const net::RawResponse page = get("/");
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.field("content-security-policy"), HasSubstr("default-src 'none'"));
  EXPECT_THAT(page.body, testing::Not(HasSubstr("<script")));
  EXPECT_THAT(page.body, HasSubstr("&lt;script&gt;"));
  EXPECT_THAT(page.body, HasSubstr("http://localhost/v1"));
  for (const Route& route : all_routes()) EXPECT_THAT(page.body, HasSubstr(std::string(route.path)));
}

TEST_F(ServerTest, DrainLetsAnswersEndAndRefusesNewOnes) {
  start();
  net::TestClient streaming(port());
  streaming.send(request("POST", "/v1/chat/completions", chat("[hold]", R"("stream":true)")));
  EXPECT_TRUE(streaming.read_until("\"content\":\"H\""));
  net::TestClient idle(port());
  idle.send(request("GET", "/readyz"));
  EXPECT_EQ(idle.read_response().status, 200);
  std::thread drain([&] { server_->drain(); });
  generator_->wait_until_draining();
  EXPECT_EQ(get("/readyz").status, 503);
  EXPECT_EQ(get("/healthz").status, 200);
  const net::RawResponse refused = post("/v1/chat/completions", chat("x"));
  expect_error(refused, 503, "unavailable");
  EXPECT_FALSE(refused.field("retry-after").empty());
  generator_->release();
  const net::RawResponse response = streaming.read_response();
  EXPECT_TRUE(response.is_complete);
  EXPECT_EQ(events_of(response.body).back(), "[DONE]");
  EXPECT_TRUE(idle.is_closed_by_server());
  drain.join();
}

TEST_F(ServerTest, AServerThatIsNotAloneLeavesTheEngineAsItIs) {
  start({.drains_engine = false});
  EXPECT_EQ(post("/v1/chat/completions", chat("hello")).status, 200);
  server_->drain();
  EXPECT_TRUE(generator_->is_ready());
}

TEST_F(ServerTest, DrainCutsOffWhatTakesTooLong) {
  start({.drain_timeout = std::chrono::seconds(0)});
  net::TestClient client(port());
  client.send(request("POST", "/v1/chat/completions", chat("[hold]", R"("stream":true)")));
  EXPECT_TRUE(client.read_until("\"content\":\"H\""));
  server_->drain();
  const net::RawResponse response = client.read_response();
  EXPECT_THAT(response.body, HasSubstr("\"code\":\"cancelled\""));
  EXPECT_THAT(response.body, testing::Not(HasSubstr("[DONE]")));
}

TEST_F(ServerTest, StoppingEndsWhatIsUnderWay) {
  start();
  net::TestClient client(port());
  client.send(request("POST", "/v1/chat/completions", chat("[hold]")));
  generator_->wait_until_in_flight(1);
  server_.reset();
  generator_->wait_until_in_flight(0);
  EXPECT_TRUE(client.is_closed_by_server());
}

TEST_F(ServerTest, ErrorBodiesHoldNoAddressesAndNoPaths) {
  start();
  const std::regex inside("0x[0-9a-fA-F]{8,}|/(usr|home|root|tmp|etc|src|work|build)/");
  for (const std::string& body :
       {std::string("{"), std::string("\xff"), std::string("{\"a\":1,\"a\":2}"), chat("[error]"), chat("x", R"("n":0)"),
        std::string(100'000, '['), chat("x", R"("response_format":{"type":"x"})")}) {
    const net::RawResponse response = post("/v1/chat/completions", body);
    EXPECT_GE(response.status, 400);
    EXPECT_FALSE(std::regex_search(response.body, inside)) << response.body;
  }
}

// What the log says while `act` runs, at this level.
std::string logged_by(const char* level, const std::function<void()>& act) {
  EXPECT_TRUE(base::set_log_level(level));
  testing::internal::CaptureStderr();
  act();
  std::string said = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(base::set_log_level("info"));
  return said;
}

// A client is told that the log says more: so it must, under the client's own id, and without control bytes.
TEST_F(ServerTest, WhatFailedInsideIsInTheLog) {
  start();
  for (const char* more : {"", R"("stream":true)"}) {
    std::string id;
    const std::string said =
        logged_by("info", [&] { id = post("/v1/chat/completions", chat("[error]", more)).field("x-request-id"); });
    EXPECT_THAT(said, HasSubstr(id + " failed, internal: at 0x7fff12345678 in /usr/lib/x.so\\x1b[m")) << more;
    EXPECT_EQ(std::ranges::count(said, '\n'), 1) << said;
  }
  EXPECT_EQ(logged_by("info", [&] { post("/v1/chat/completions", "{"); }), "");  // the client's own fault is its own
}

TEST_F(ServerTest, EveryRequestIsALineForWhoAsksForThem) {
  start();
  std::string id, refused;
  const auto act = [&] {
    id = post("/v1/chat/completions", chat("a-secret")).field("x-request-id");
    refused = get("/a-secret").field("x-request-id");
    net::exchange_bytes(port(), "a-secret\r\n\r\n");
    post("/v1/completions", completion("a-secret", R"("stream":true)"));
    server_.reset();  // a line may come just after its answer
  };
  const std::string said = logged_by("debug", act);
  EXPECT_TRUE(std::regex_search(said, std::regex("POST /v1/chat/completions 200 [0-9.]+ ms, request " + id))) << said;
  EXPECT_THAT(said, HasSubstr("GET - 404 refused, request " + refused));
  EXPECT_THAT(said, HasSubstr("- - 400 refused, request "));
  EXPECT_TRUE(std::regex_search(said, std::regex("POST /v1/completions 200 [0-9.]+ ms"))) << said;
  EXPECT_EQ(said.find("a-secret"), std::string::npos) << said;
  start();
  EXPECT_EQ(logged_by("info", act), "");
}

}  // namespace
}  // namespace autoglm::server

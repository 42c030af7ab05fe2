// SPDX-License-Identifier: Apache-2.0
#include "net/http_client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <thread>

namespace autoglm::net {
namespace {

// Answers one connection after the other with given bytes, on a free loopback port, and keeps what was asked.
class CannedServer final {
 public:
  explicit CannedServer(std::vector<std::string> answers, SSL_CTX* tls = nullptr)
      : answers_(std::move(answers)), tls_(tls) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    socklen_t size = sizeof address;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  ~CannedServer() { stop(); }
  // The ports of redirects are only known once all servers are bound.
  void start() {
    thread_ = std::thread([this] { serve(); });
  }
  void stop() {
    shutdown(listener_, SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
    if (listener_ >= 0) close(listener_);
    listener_ = -1;
  }
  std::string url(const std::string& path, const std::string& host = "127.0.0.1") const {
    return (tls_ ? "https://" : "http://") + host + ":" + std::to_string(port_) + path;
  }
  std::vector<std::string>& answers() { return answers_; }
  const std::vector<std::string>& requests() const { return requests_; }  // after stop()

 private:
  void serve() {
    for (const std::string& answer : answers_) {
      const int peer = accept(listener_, nullptr, nullptr);
      if (peer < 0) return;
      tls_ ? serve_tls(peer, answer) : serve_plain(peer, answer);
      close(peer);
    }
  }
  void serve_plain(int peer, const std::string& answer) {
    std::string request;
    char buffer[4096];
    while (request.find("\r\n\r\n") == std::string::npos) {
      const ssize_t got = recv(peer, buffer, sizeof buffer, 0);
      if (got <= 0) return;
      request.append(buffer, static_cast<std::size_t>(got));
    }
    requests_.push_back(request);
    for (std::size_t sent = 0; sent < answer.size();) {
      const ssize_t n = send(peer, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return;
      sent += static_cast<std::size_t>(n);
    }
    shutdown(peer, SHUT_WR);
    while (recv(peer, buffer, sizeof buffer, 0) > 0) {
    }
  }
  void serve_tls(int peer, const std::string& answer) {
    std::unique_ptr<SSL, decltype(&SSL_free)> tls(SSL_new(tls_), &SSL_free);
    SSL_set_fd(tls.get(), peer);
    char buffer[4096];
    if (SSL_accept(tls.get()) != 1 || SSL_read(tls.get(), buffer, sizeof buffer) <= 0) return;
    SSL_write(tls.get(), answer.data(), static_cast<int>(answer.size()));
    SSL_shutdown(tls.get());
  }

  std::vector<std::string> answers_;
  std::vector<std::string> requests_;
  SSL_CTX* tls_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

struct Outcome {
  Result<HttpReply> reply = fail(Code::kInternal, "not run");
  std::string body;
};

Outcome fetch(HttpGet get) {
  Outcome outcome;
  outcome.reply = http_get(
      get, [](const HttpReply&) { return Status(); },
      [&](std::string_view bytes) {
        outcome.body += bytes;
        return Status();
      });
  return outcome;
}

Outcome fetch_from(CannedServer& server, HttpGet get = {}) {
  server.start();
  get.url = server.url("/x");
  Outcome outcome = fetch(get);
  server.stop();
  return outcome;
}

TEST(HttpClient, BodiesOfEveryFraming) {
  const std::string large(300'000, 'z');
  for (const std::string& answer :
       {"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + large, "HTTP/1.1 200 OK\r\n\r\n" + large,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n493e0\r\n" + large + "\r\n0\r\n\r\n"}) {
    CannedServer server({answer});
    const Outcome outcome = fetch_from(server);
    ASSERT_TRUE(outcome.reply) << outcome.reply.error().message;
    EXPECT_EQ(outcome.reply->status, 200);
    EXPECT_TRUE(outcome.body == large) << outcome.body.size();
  }
  CannedServer empty({"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"});
  const Outcome outcome = fetch_from(empty);
  EXPECT_TRUE(outcome.reply);
  EXPECT_EQ(outcome.body, "");
}

TEST(HttpClient, CutShortIsAnErrorInEveryFraming) {
  for (const char* answer : {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nabc", "HTTP/1.1 200 O", ""}) {
    CannedServer server({answer});
    const Outcome outcome = fetch_from(server);
    ASSERT_FALSE(outcome.reply) << answer;
    EXPECT_EQ(outcome.reply.error().code, Code::kUnavailable) << answer;
  }
}

TEST(HttpClient, NotHttpIsCorrupt) {
  CannedServer server({"SSH-2.0-OpenSSH_9.2\r\n\r\n"});
  const Outcome outcome = fetch_from(server);
  ASSERT_FALSE(outcome.reply);
  EXPECT_EQ(outcome.reply.error().code, Code::kCorrupt);
}

TEST(HttpClient, HeadersAreBounded) {
  const auto answer = [](std::size_t filler) {
    return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + std::string(filler, 'a') + "\r\n\r\n";
  };
  HttpGet get;
  get.max_header_bytes = 1024;
  CannedServer within({answer(1024 - answer(0).size())});
  EXPECT_TRUE(fetch_from(within, get).reply);
  CannedServer over({answer(70'000)});
  const Outcome outcome = fetch_from(over, get);
  ASSERT_FALSE(outcome.reply);
  EXPECT_EQ(outcome.reply.error().code, Code::kExhausted);
}

TEST(HttpClient, AsksForTheRestOfAFile) {
  CannedServer server({"HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\nETag: \"e\"\r\n\r\nxyz"});
  HttpGet get;
  get.offset = 7;
  get.etag = "\"e\"";
  const Outcome outcome = fetch_from(server, get);
  ASSERT_TRUE(outcome.reply);
  EXPECT_EQ(outcome.reply->status, 206);
  EXPECT_EQ(outcome.reply->field("etag"), "\"e\"");
  EXPECT_NE(server.requests().at(0).find("\r\nrange: bytes=7-\r\nif-range: \"e\"\r\n"), std::string::npos);
}

TEST(HttpClient, OtherStatusesAreAReplyWithoutBody) {
  CannedServer server({"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabc"});
  const Outcome outcome = fetch_from(server);
  ASSERT_TRUE(outcome.reply);
  EXPECT_EQ(outcome.reply->status, 404);
  EXPECT_EQ(outcome.body, "");
}

TEST(HttpClient, RedirectsKeepTheSecretAtHome) {
  CannedServer other({"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"});
  CannedServer home({"HTTP/1.1 302 Found\r\nLocation: /again\r\nX-Linked-Etag: \"first\"\r\n\r\n", ""});
  home.answers()[1] = "HTTP/1.1 307 Temporary Redirect\r\nLocation: " + other.url("/file") + "\r\n\r\n";
  other.start();
  home.start();
  HttpGet get;
  get.url = home.url("/start");
  get.fields = {{"authorization", "Bearer secret"}};
  const Outcome outcome = fetch(get);
  home.stop();
  other.stop();
  ASSERT_TRUE(outcome.reply) << outcome.reply.error().message;
  EXPECT_EQ(outcome.body, "ok");
  EXPECT_EQ(outcome.reply->url, other.url("/file"));
  EXPECT_EQ(outcome.reply->first_field("x-linked-etag"), "\"first\"");
  EXPECT_NE(home.requests().at(1).find("Bearer secret"), std::string::npos);
  EXPECT_EQ(other.requests().at(0).find("secret"), std::string::npos);
}

TEST(HttpClient, RedirectsAreBounded) {
  const std::string around = "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n";
  HttpGet get;
  get.max_redirects = 2;
  CannedServer within({around, around, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"});
  EXPECT_TRUE(fetch_from(within, get).reply);
  CannedServer over({around, around, around});
  const Outcome outcome = fetch_from(over, get);
  ASSERT_FALSE(outcome.reply);
  EXPECT_EQ(outcome.reply.error().code, Code::kExhausted);
}

TEST(HttpClient, LineBreaksInHeadersAreRefused) {
  HttpGet get;
  get.url = "http://127.0.0.1:1/";
  get.fields = {{"x", "a\r\nb: c"}};
  EXPECT_EQ(fetch(get).reply.error().code, Code::kInvalidArgument);
}

TEST(HttpClient, NobodyListensAndNobodyAnswers) {
  CannedServer closed({});
  HttpGet get;
  get.url = closed.url("/");
  closed.stop();
  EXPECT_EQ(fetch(get).reply.error().code, Code::kUnavailable);

  CannedServer silent({});  // never started: the kernel accepts, nobody answers
  get.url = silent.url("/");
  get.socket.idle_timeout = std::chrono::milliseconds(20);
  EXPECT_EQ(fetch(get).reply.error().code, Code::kUnavailable);
  get.socket.idle_timeout = std::chrono::minutes(10);
  int asked = 0;
  get.socket.is_cancelled = [&asked] { return ++asked > 2; };
  EXPECT_EQ(fetch(get).reply.error().code, Code::kCancelled);
}

TEST(HttpClient, ASinkCanStopTheTransfer) {
  CannedServer server({"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"});
  server.start();
  HttpGet get;
  get.url = server.url("/x");
  auto reply = http_get(
      get, [](const HttpReply&) { return Status(); },
      [](std::string_view) -> Status { return fail(Code::kExhausted, "full"); });
  server.stop();
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Code::kExhausted);
}

// A self-signed certificate for one name and one address, made for the test.
class Certificate final {
 public:
  explicit Certificate(const char* names) : key_(EVP_EC_gen("P-256")), certificate_(X509_new()) {
    X509_set_version(certificate_, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate_), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate_), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate_), 3600);
    X509_set_pubkey(certificate_, key_);
    X509_NAME* subject = X509_get_subject_name(certificate_);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("test"), -1, -1, 0);
    X509_set_issuer_name(certificate_, subject);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names);
    X509_add_ext(certificate_, extension, -1);
    X509_EXTENSION_free(extension);
    X509_sign(certificate_, key_, EVP_sha256());
    context_ = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(context_, certificate_);
    SSL_CTX_use_PrivateKey(context_, key_);
    path_ = std::filesystem::temp_directory_path() / ("openautoglm_ca_" + std::to_string(getpid()) + ".pem");
    std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path_.c_str(), "w"), &std::fclose);
    PEM_write_X509(file.get(), certificate_);
  }
  ~Certificate() {
    std::filesystem::remove(path_);
    SSL_CTX_free(context_);
    X509_free(certificate_);
    EVP_PKEY_free(key_);
  }
  SSL_CTX* context() const { return context_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  EVP_PKEY* key_;
  X509* certificate_;
  SSL_CTX* context_ = nullptr;
  std::filesystem::path path_;
};

TEST(HttpClient, TlsWithATrustedCertificate) {
  Certificate certificate("IP:127.0.0.1");
  CannedServer server({"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nquiet"}, certificate.context());
  HttpGet get;
  get.socket.ca_file = certificate.path();
  const Outcome outcome = fetch_from(server, get);
  ASSERT_TRUE(outcome.reply) << outcome.reply.error().message;
  EXPECT_EQ(outcome.body, "quiet");
}

TEST(HttpClient, TlsRefusesUnknownIssuersAndOtherNames) {
  Certificate certificate("IP:127.0.0.1");
  CannedServer unknown({""}, certificate.context());
  EXPECT_EQ(fetch_from(unknown).reply.error().code, Code::kPermissionDenied);

  Certificate elsewhere("DNS:elsewhere.example,IP:127.0.0.2");
  CannedServer wrong_name({""}, elsewhere.context());
  HttpGet get;
  get.socket.ca_file = elsewhere.path();
  EXPECT_EQ(fetch_from(wrong_name, get).reply.error().code, Code::kPermissionDenied);
}

TEST(HttpClient, TlsNeverFallsBackToPlain) {
  Certificate certificate("IP:127.0.0.1");
  CannedServer plain({"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"});
  CannedServer server({"HTTP/1.1 302 Found\r\nLocation: " + plain.url("/") + "\r\n\r\n"}, certificate.context());
  HttpGet get;
  get.socket.ca_file = certificate.path();
  const Outcome outcome = fetch_from(server, get);
  ASSERT_FALSE(outcome.reply);
  EXPECT_EQ(outcome.reply.error().code, Code::kPermissionDenied);
}

Outcome call(HttpCall call) {
  Outcome outcome;
  outcome.reply = http_call(
      call, [](const HttpReply&) { return Status(); },
      [&](std::string_view bytes) {
        outcome.body += bytes;
        return Status();
      });
  return outcome;
}

TEST(HttpCall, SendsMethodFieldsAndBodyAndReadsBodiesOfErrors) {
  CannedServer server({"HTTP/1.1 422 No\r\nContent-Length: 7\r\n\r\nbecause"});
  server.start();
  const Outcome outcome = call({.method = "POST",
                                .url = server.url("/x"),
                                .fields = {{"content-type", "application/json"}, {"accept", "text/plain"}},
                                .body = R"({"a":1})"});
  server.stop();
  ASSERT_TRUE(outcome.reply) << outcome.reply.error().message;
  EXPECT_EQ(outcome.reply->status, 422);
  EXPECT_EQ(outcome.body, "because");
  const std::string& request = server.requests().at(0);
  EXPECT_TRUE(request.starts_with("POST /x HTTP/1.1\r\n")) << request;
  EXPECT_TRUE(request.ends_with("Content-Length: 7\r\n\r\n{\"a\":1}")) << request;
  EXPECT_NE(request.find("accept: text/plain\r\n"), std::string::npos);
  EXPECT_EQ(request.find("Accept: */*"), std::string::npos);
}

TEST(HttpCall, AnswersWithoutABody) {
  CannedServer head({"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"});
  head.start();
  EXPECT_TRUE(call({.method = "HEAD", .url = head.url("/")}).reply);
  head.stop();
  CannedServer accepted({"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"});
  accepted.start();
  EXPECT_EQ(call({.method = "POST", .url = accepted.url("/")}).reply->status, 202);
  accepted.stop();
  EXPECT_NE(accepted.requests().at(0).find("Content-Length: 0\r\n"), std::string::npos);
}

TEST(HttpCall, RedirectsOfAPostAndSecrets) {
  for (const auto& [status, method] : {std::pair("307", "POST"), std::pair("303", "GET"), std::pair("302", "GET")}) {
    CannedServer target({"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"});
    CannedServer source({std::string("HTTP/1.1 ") + status + " Moved\r\nLocation: " + target.url("/y") +
                         "\r\nContent-Length: 0\r\n\r\n"});
    source.start();
    target.start();
    const Outcome outcome =
        call({.method = "POST", .url = source.url("/x"), .fields = {{"x-api-key", "s"}}, .body = "b"});
    source.stop();
    target.stop();
    ASSERT_TRUE(outcome.reply) << outcome.reply.error().message;
    EXPECT_NE(source.requests().at(0).find("x-api-key: s"), std::string::npos);
    const std::string& second = target.requests().at(0);
    EXPECT_TRUE(second.starts_with(std::string(method) + " /y ")) << second;
    EXPECT_EQ(second.ends_with("\r\n\r\nb"), std::string_view(method) == "POST") << second;
    EXPECT_EQ(second.find("x-api-key"), std::string::npos) << "another host got the secret";
  }
}

TEST(HttpCall, OnlyAdmittedAddressesAreConnectedTo) {
  CannedServer server({"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"});
  server.start();
  std::vector<std::string> asked;
  HttpCall refused{.url = server.url("/", "localhost")};
  refused.socket.admits = [&asked](const IpAddress& address) -> Status {
    asked.push_back(format_address(address));
    return fail(Code::kPermissionDenied, "not there");
  };
  EXPECT_EQ(call(refused).reply.error().code, Code::kPermissionDenied);
  EXPECT_FALSE(asked.empty());
  // The looser spellings of an address are seen as what they resolve to.
  for (const char* host : {"127.1", "2130706433", "0x7f000001", "017700000001", "[::ffff:127.0.0.1]", "[::1]"}) {
    asked.clear();
    refused.url = server.url("/", host);
    const auto code = call(refused).reply.error().code;
    EXPECT_TRUE(code == Code::kPermissionDenied || code == Code::kUnavailable) << host;
    for (const std::string& address : asked) EXPECT_TRUE(address == "127.0.0.1" || address == "::1") << host;
  }
  HttpCall url_refused{.url = server.url("/")};
  url_refused.admits = [](const Url&) -> Status { return fail(Code::kPermissionDenied, "not this host"); };
  EXPECT_EQ(call(url_refused).reply.error().code, Code::kPermissionDenied);
  server.stop();
  EXPECT_TRUE(server.requests().empty()) << "a refused request was sent";
}

TEST(HttpCall, WhatWouldBreakTheRequestIsRefused) {
  EXPECT_EQ(call({.method = "GET /x", .url = "http://127.0.0.1:1/"}).reply.error().code, Code::kInvalidArgument);
  EXPECT_EQ(call({.url = "http://127.0.0.1:1/", .fields = {{"a", "b\r\nc: d"}}}).reply.error().code,
            Code::kInvalidArgument);
  EXPECT_EQ(call({.url = "http://127.0.0.1:1/", .fields = {{"a b", "c"}}}).reply.error().code, Code::kInvalidArgument);
  EXPECT_EQ(call({.url = "http://127.0.0.1:1/", .fields = {{"a", std::string("b\0c", 3)}}}).reply.error().code,
            Code::kInvalidArgument);
}

}  // namespace
}  // namespace autoglm::net

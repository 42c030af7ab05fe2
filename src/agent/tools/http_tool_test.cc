// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/http_tool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <mutex>
#include <thread>

#include "agent/fake_tool.h"
#include "agent/tools/test_server.h"

namespace autoglm::agent {
namespace {

using testing::HasSubstr;

class HttpToolTest : public testing::Test {
 protected:
  HttpToolConfig config(const std::string& path, const std::string& host = "127.0.0.1") {
    HttpToolConfig config;
    config.description = describe("tool", ToolClass::kExternal);
    const auto url = UrlTemplate::parse("http://" + host + ":" + std::to_string(server_.port()) + path);
    EXPECT_TRUE(url) << url.error().message;
    config.url = url.value();
    config.private_addresses = {net::parse_range("127.0.0.0/8").value(), net::parse_range("::1").value()};
    return config;
  }
  Result<ToolOutput> run(HttpToolConfig config, std::string_view arguments = "{}", std::stop_token stop = {}) {
    return make_http_tool(std::move(config))->run(parse_json(arguments).as_object(), std::move(stop));
  }

  TestServer server_;
};

TEST_F(HttpToolTest, AsksAndAnswers) {
  server_.on("/weather/Bern?days=3", {200, {{"content-type", "application/json; charset=utf-8"}}, R"({"t":21})"});
  HttpToolConfig weather = config("/weather/{city}?days={days}");
  weather.fields = {{"x-key", "secret"}};
  const auto output = run(weather, R"({"city":"Bern","days":3})");
  ASSERT_TRUE(output) << output.error().message;
  EXPECT_FALSE(output->is_error);
  EXPECT_EQ(output->text, R"({"t":21})");
  EXPECT_EQ(server_.requests().at(0).field("x-key"), "secret");
}

TEST_F(HttpToolTest, WhatTheUrlDoesNotHoldIsTheBody) {
  server_.on("/notes/7", {201, {{"content-type", "text/plain"}}, "made"});
  HttpToolConfig note = config("/notes/{id}");
  note.method = "POST";
  EXPECT_EQ(run(note, R"({"id":7,"text":"x","tags":["a"]})")->text, "made");
  EXPECT_EQ(server_.requests().at(0).body, R"({"text":"x","tags":["a"]})");
  EXPECT_EQ(server_.requests().at(0).field("content-type"), "application/json");
}

TEST_F(HttpToolTest, StatusesAreErrorsThatCanBeRead) {
  server_.on("/x", {404, {{"content-type", "text/plain"}}, "no such city"});
  const auto output = run(config("/x"));
  ASSERT_TRUE(output);
  EXPECT_TRUE(output->is_error);
  EXPECT_EQ(output->text, "HTTP status 404\nno such city");
  server_.on("/away", {503, {}, ""});
  EXPECT_EQ(run(config("/away")).error().code, Code::kUnavailable);
  server_.on("/image", {200, {{"content-type", "image/png"}}, std::string(1000, '\x89')});
  EXPECT_EQ(run(config("/image"))->text, "[1000 bytes of image/png]");
  EXPECT_TRUE(run(config("/{a}"), "{}")->is_error);
}

TEST_F(HttpToolTest, AnswersAreBounded) {
  server_.on("/big", {200, {}, std::string(100'000, 'x')});
  HttpToolConfig big = config("/big");
  big.max_response_bytes = 99'999;
  EXPECT_EQ(run(big).error().code, Code::kExhausted);
  big.max_response_bytes = 100'000;
  EXPECT_TRUE(run(big));
}

TEST_F(HttpToolTest, AStopClosesTheConnection) {
  std::stop_source stop;
  std::latch asked(1);
  server_.on_hold("/slow", [&asked] { asked.count_down(); });
  std::jthread stopper([&] {
    asked.wait();
    stop.request_stop();
  });
  EXPECT_EQ(run(config("/slow"), "{}", stop.get_token()).error().code, Code::kCancelled);
}

TEST_F(HttpToolTest, PrivateAddressesAreRefusedUnlessListed) {
  server_.on("/x", {200, {}, "reached"});
  // Every spelling of the loopback address, as name, number or IPv6.
  for (const char* host :
       {"127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "[::1]",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "127.0.0.1.", "localhost.", "0",
        "0.0.0.0", "[::]", "LOCALHOST"}) {
    HttpToolConfig refused = config("/x", host);
    refused.private_addresses.clear();
    const auto output = run(refused);
    ASSERT_FALSE(output) << host << " reached " << output->text;
    // Where a spelling means nothing to the resolver there is nothing to reach.
    EXPECT_TRUE(output.error().code == Code::kPermissionDenied || output.error().code == Code::kUnavailable) << host;
  }
  HttpToolConfig other = config("/x");
  other.private_addresses = {net::parse_range("10.0.0.0/8").value()};
  EXPECT_EQ(run(other).error().code, Code::kPermissionDenied);
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(HttpToolTest, WhatIsNotPublicIsRefusedBeforeAnythingIsSent) {
  for (const char* address : {"10.0.0.1",
                              "172.16.5.4",
                              "192.168.1.1",
                              "100.64.0.1",
                              "169.254.169.254",
                              "0.0.0.0",
                              "224.0.0.1",
                              "255.255.255.255",
                              "::1",
                              "::",
                              "fd12:3456::1",
                              "fe80::1",
                              "ff02::1",
                              "::ffff:10.0.0.1",
                              "::ffff:169.254.169.254",
                              "::127.0.0.1",
                              "64:ff9b::7f00:1",
                              "64:ff9b::a9fe:a9fe",
                              "2002:7f00:1::",
                              "2002:a00:1::1",
                              "2001:db8::1",
                              "2001::1"})
    EXPECT_EQ(admit_address(net::parse_address(address).value(), {}).error().code, Code::kPermissionDenied) << address;
  EXPECT_TRUE(admit_address(net::parse_address("8.8.8.8").value(), {}));
  EXPECT_TRUE(admit_address(net::parse_address("2606:4700::1111").value(), {}));
}

std::vector<net::IpAddress> addresses(const std::vector<std::string>& texts) {
  std::vector<net::IpAddress> out;
  for (const std::string& text : texts) out.push_back(net::parse_address(text).value());
  return out;
}

// DNS rebinding: a name means one address when it is checked and another one when it is used.
TEST_F(HttpToolTest, ANameMeansWhatItMeantWhenItWasChecked) {
  server_.on("/x", {200, {}, "reached"});
  HttpToolConfig rebound = config("/x", "rebinding.example");
  rebound.private_addresses = {net::parse_range("127.0.0.1").value()};
  std::vector<std::string> asked;
  rebound.resolve = [&asked](const std::string& host) -> Result<std::vector<net::IpAddress>> {
    asked.push_back(host);
    return addresses({asked.size() == 1 ? "127.0.0.1" : "127.0.0.2"});
  };
  EXPECT_EQ(run(rebound)->text, "reached");
  EXPECT_THAT(asked, testing::ElementsAre("rebinding.example"));  // once, for the check and for the connection
  // The next connection asks anew, and so it checks anew: that of the next call and that of a redirect to itself.
  EXPECT_EQ(run(rebound).error().code, Code::kPermissionDenied);
  asked.clear();
  server_.on("/x", {302, {{"location", "/y"}}, ""});
  EXPECT_EQ(run(rebound).error().code, Code::kPermissionDenied);
  EXPECT_THAT(asked, testing::SizeIs(2));
  EXPECT_THAT(server_.requests(), testing::SizeIs(2));
}

TEST_F(HttpToolTest, OfANamesAddressesOnlyThoseThatMayBeReachedAre) {
  server_.on("/x", {200, {}, "reached"});
  HttpToolConfig several = config("/x", "several.example");
  std::vector<std::string> meant = {"169.254.169.254", "10.0.0.1", "::ffff:192.168.1.1", "127.0.0.1"};
  several.private_addresses = {net::parse_range("127.0.0.1").value()};
  several.resolve = [&meant](const std::string&) -> Result<std::vector<net::IpAddress>> { return addresses(meant); };
  EXPECT_EQ(run(several)->text, "reached");
  meant.pop_back();
  EXPECT_EQ(run(several).error().code, Code::kPermissionDenied);
  several.private_addresses.clear();
  for (const char* address : {"127.0.0.1", "::1", "10.0.0.1", "fd00::1", "169.254.169.254", "64:ff9b::7f00:1"}) {
    meant = {address};
    EXPECT_EQ(run(several).error().code, Code::kPermissionDenied) << address;
  }
  meant.clear();
  EXPECT_EQ(run(several).error().code, Code::kUnavailable);
  EXPECT_THAT(server_.requests(), testing::SizeIs(1));
}

TEST_F(HttpToolTest, RedirectsAreCheckedLikeTheFirstRequest) {
  TestServer inner;
  inner.on("/secret", {200, {}, "inner"});
  const std::string port = std::to_string(inner.port());
  // To another host, though its address would be allowed; to a listed host by a spelling of another address.
  for (const std::string& target : {"http://localhost:" + port + "/secret", "http://127.1:" + port + "/secret",
                                    "http://[::ffff:127.0.0.1]:" + port + "/secret",
                                    "http://2130706433:" + port + "/secret", "//localhost:" + port + "/secret"}) {
    server_.on("/go", {302, {{"location", target}}, ""});
    EXPECT_EQ(run(config("/go")).error().code, Code::kPermissionDenied) << target;
  }
  // To a private address of an allowed name.
  HttpToolConfig outer = config("/go");
  outer.hosts = {"localhost"};
  outer.private_addresses = {net::parse_range("127.0.0.1").value()};
  server_.on("/go", {302, {{"location", "http://localhost:" + port + "/secret"}}, ""});
  EXPECT_TRUE(run(outer));  // 127.0.0.1 is what localhost is here, and it is listed
  for (const char* bad :
       {"file:///etc/passwd", "gopher://127.0.0.1/", "http://u:p@127.0.0.1/", "http://127.0.0.1\\@evil/"}) {
    server_.on("/go", {302, {{"location", bad}}, ""});
    EXPECT_FALSE(run(config("/go"))) << bad;
  }
  server_.on("/go", {302, {{"location", "/go"}}, ""});
  EXPECT_EQ(run(config("/go")).error().code, Code::kExhausted);
}

TEST_F(HttpToolTest, HostsAreListedByName) {
  EXPECT_TRUE(is_listed("API.example.com.", {"api.example.com"}));
  EXPECT_TRUE(is_listed("a.example.com", {"*.example.com"}));
  EXPECT_FALSE(is_listed("example.com", {"*.example.com"}));
  EXPECT_FALSE(is_listed("evilexample.com", {"*.example.com"}));
  EXPECT_FALSE(is_listed("api.example.com.evil.org", {"api.example.com", "*.example.com"}));
  EXPECT_FALSE(is_listed("", {"api.example.com"}));
}

}  // namespace
}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
// A server on a free port over a FakeGenerator, and the words to call it. Tests only.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "net/test_client.h"
#include "server/fake_generator.h"
#include "server/server.h"

namespace autoglm::server {

inline json::Value parsed(std::string_view text) {
  base::Budget budget;
  auto value = json::parse(text, budget);
  EXPECT_TRUE(value) << text;
  return value ? *value : json::Value();
}

/// Follows keys and indices: at(answer, "choices", 0, "text").
template <typename... Path>
const json::Value& at(const json::Value& value, Path... path) {
  static const json::Value kNothing;
  const json::Value* here = &value;
  const auto step = [&](const auto& key) {
    if (here == nullptr) return;
    if constexpr (std::is_integral_v<std::remove_cvref_t<decltype(key)>>) {
      here = here->is_array() && static_cast<std::size_t>(key) < here->get_array().size()
                 ? &here->get_array()[static_cast<std::size_t>(key)]
                 : nullptr;
    } else {
      here = here->is_object() ? here->get_object().if_contains(key) : nullptr;
    }
  };
  (step(path), ...);
  EXPECT_NE(here, nullptr) << json::format(value);
  return here == nullptr ? kNothing : *here;
}

inline std::string text_of(const json::Value& value) {
  return value.is_string() ? std::string(value.get_string()) : json::format(value);
}

/// The data of each server-sent event, [DONE] included.
inline std::vector<std::string> events_of(std::string_view body) {
  std::vector<std::string> events;
  while (!body.empty()) {
    const auto end = body.find("\n\n");
    EXPECT_NE(end, std::string_view::npos) << "an event does not end";
    if (end == std::string_view::npos) break;
    if (body.starts_with("data: ")) events.emplace_back(body.substr(6, end - 6));
    body.remove_prefix(end + 2);
  }
  return events;
}

class ServerFixture : public testing::Test {
 protected:
  void start(ServerOptions options = {}, std::size_t context_length = 4096) {
    options.port = 0;
    generator_ = std::make_unique<FakeGenerator>(context_length);
    auto server = start_server(*generator_, options, clock_, metrics_);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }
  void TearDown() override { server_.reset(); }

  std::uint16_t port() const { return server_->port(); }

  static std::string request(std::string_view method, std::string_view path, std::string_view body = {},
                             std::string_view fields = {}) {
    std::string text =
        std::string(method) + " " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(fields);
    if (method == "POST")
      text += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
    return text + "\r\n" + std::string(body);
  }
  net::RawResponse get(std::string_view path, std::string_view fields = {}) const {
    return net::exchange_bytes(port(), request("GET", path, {}, fields));
  }
  net::RawResponse post(std::string_view path, std::string_view body, std::string_view fields = {}) const {
    return net::exchange_bytes(port(), request("POST", path, body, fields));
  }
  /// A chat request with one user message and these further members: R"("n":2)".
  static std::string chat(std::string_view content, std::string_view more = {}) {
    std::string body = R"({"model":"fake-model","messages":[{"role":"user","content":)";
    json::append_string(body, content);
    return body + "}]" + (more.empty() ? "" : ",") + std::string(more) + "}";
  }
  static std::string completion(std::string_view prompt, std::string_view more = {}) {
    std::string body = R"({"model":"fake-model","prompt":)";
    json::append_string(body, prompt);
    return body + (more.empty() ? "" : ",") + std::string(more) + "}";
  }
  /// Fails unless `response` is an error of this status and code; returns its message.
  static std::string expect_error(const net::RawResponse& response, int status, std::string_view code,
                                  std::string_view param = {}) {
    EXPECT_EQ(response.status, status) << response.body;
    const json::Value body = parsed(response.body);
    EXPECT_EQ(text_of(at(body, "error", "code")), code) << response.body;
    EXPECT_EQ(at(body, "error", "param").is_null() ? "" : text_of(at(body, "error", "param")), param) << response.body;
    EXPECT_FALSE(text_of(at(body, "error", "type")).empty());
    EXPECT_EQ(at(body, "error").get_object().size(), 4u);
    return text_of(at(body, "error", "message"));
  }

  base::SystemClock clock_;
  telemetry::Registry metrics_{clock_};
  std::unique_ptr<FakeGenerator> generator_;
  std::unique_ptr<Server> server_;
};

}  // namespace autoglm::server

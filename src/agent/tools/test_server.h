// SPDX-License-Identifier: Apache-2.0
// An HTTP server for tests of what asks: answers by path and query, or by a function. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "net/http_server.h"

namespace autoglm::agent {

class TestServer final : public net::HttpService {
 public:
  using Serve = std::function<void(const net::HttpRequest& request, const std::shared_ptr<net::Exchange>& exchange)>;

  TestServer() {
    auto server = net::bind_http_server({}, *this, clock_);
    EXPECT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
    server_->start();
  }
  ~TestServer() override { server_.reset(); }

  std::uint16_t port() const { return server_->port(); }
  std::string url(const std::string& path) const { return "http://127.0.0.1:" + std::to_string(port()) + path; }

  void on(const std::string& target, net::HttpResponse response) {
    on_call(target, [response](const net::HttpRequest&, const auto& exchange) { exchange->respond(response); });
  }
  // Never answers.
  void on_hold(const std::string& target, std::function<void()> asked) {
    on_call(target, [this, asked](const net::HttpRequest&, const auto& exchange) {
      held_.push_back(exchange);
      asked();
    });
  }
  void on_call(const std::string& target, Serve serve) {
    const std::lock_guard lock(mutex_);
    serves_[target] = std::move(serve);
  }
  // Everything that has no target of its own.
  void on_rest(Serve serve) { on_call("*", std::move(serve)); }

  std::vector<net::HttpRequest> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

  std::optional<net::HttpResponse> refuse(const net::HttpRequest&) override { return std::nullopt; }
  net::HttpResponse explain(const net::HttpFault& fault) override { return {fault.status, {}, fault.message}; }
  void serve(net::HttpRequest request, std::shared_ptr<net::Exchange> exchange) override {
    Serve serve;
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
      const std::string target = request.path + (request.query.empty() ? "" : "?" + request.query);
      auto found = serves_.find(target);
      if (found == serves_.end()) found = serves_.find("*");
      if (found != serves_.end()) serve = found->second;
    }
    if (!serve) return exchange->respond({404, {}, "not here"});
    serve(request, exchange);
  }

 private:
  std::mutex mutex_;
  std::map<std::string, Serve> serves_;
  std::vector<net::HttpRequest> requests_;
  std::vector<std::shared_ptr<net::Exchange>> held_;
  base::SystemClock clock_;
  std::unique_ptr<net::HttpServer> server_;
};

}  // namespace autoglm::agent

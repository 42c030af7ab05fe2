// SPDX-License-Identifier: Apache-2.0
// The network thread: accepts connections and lets each run until it ends.
#include "net/http_server.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <set>
#include <thread>

#include "base/log.h"
#include "net/http_connection.h"

namespace autoglm::net {
namespace {

class BeastServer final : public HttpServer {
 public:
  BeastServer(const HttpServerOptions& options, HttpService& service, const base::Clock& clock)
      : options_(options),
        context_(std::make_unique<asio::io_context>(1)),
        acceptor_(std::in_place, *context_),
        retry_(std::in_place, *context_),
        server_(options_, service, clock, std::make_shared<NetworkLoop>(*context_)) {}
  ~BeastServer() override {
    server_.loop->close();
    context_->stop();
    if (thread_.joinable()) thread_.join();
    acceptor_.reset();
    retry_.reset();
    context_.reset();  // destroys the coroutines, and with them the connections
  }
  BeastServer(const BeastServer&) = delete;
  BeastServer& operator=(const BeastServer&) = delete;

  Status bind();
  std::uint16_t port() const override { return port_; }
  std::size_t connections() const override { return server_.count(); }
  std::size_t accepted() const override { return server_.accepted.load(); }
  void start() override {
    thread_ = std::thread([this] { context_->run(); });
  }
  bool wait_until_none(base::Time until) override { return server_.wait_until_none(until); }
  void close_idle() override;

 private:
  asio::awaitable<void> accept_all();
  void begin(tcp::socket socket);

  const HttpServerOptions options_;
  std::unique_ptr<asio::io_context> context_;
  std::optional<tcp::acceptor> acceptor_;
  std::optional<asio::steady_timer> retry_;
  mutable ServerState server_;
  std::set<std::weak_ptr<Connection>, std::owner_less<>> live_;  // network thread
  std::uint16_t port_ = 0;
  std::thread thread_;
};

Status open(tcp::acceptor& acceptor, const HttpServerOptions& options) {
  error_code error;
  const auto address = asio::ip::make_address(options.host == "localhost" ? "127.0.0.1" : options.host, error);
  if (error)
    return fail(Code::kInvalidArgument, "the host must be an IP address or localhost, not \"" + options.host + "\"",
                "host");
  const tcp::endpoint endpoint(address, options.port);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  const std::string place = options.host + " port " + std::to_string(options.port);
  if (error == asio::error::address_in_use)
    return fail(Code::kUnavailable, "another program listens on " + place + " already");
  if (error == asio::error::access_denied) return fail(Code::kPermissionDenied, "this user may not listen on " + place);
  if (!error) acceptor.listen(1024, error);
  if (error) return fail(Code::kUnavailable, "cannot listen on " + place + ": it is no address of this machine");
  return {};
}

Status BeastServer::bind() {
  TRY(open(*acceptor_, options_));
  error_code error;
  port_ = acceptor_->local_endpoint(error).port();
  asio::co_spawn(*context_, accept_all(), asio::detached);
  return {};
}

asio::awaitable<void> BeastServer::accept_all() {
  while (!server_.is_closing) {
    error_code error;
    tcp::socket socket = co_await acceptor_->async_accept(asio::redirect_error(asio::use_awaitable, error));
    if (!error) {
      ++server_.accepted;
      begin(std::move(socket));
      continue;
    }
    if (!acceptor_->is_open()) co_return;
    // Out of file descriptors, most likely: those open go on, and new ones wait in the kernel's queue for a moment.
    LOG_WARN("cannot accept a connection: {}", error.message());
    retry_->expires_after(std::chrono::milliseconds(100));
    co_await retry_->async_wait(asio::redirect_error(asio::use_awaitable, error));
  }
}

void BeastServer::begin(tcp::socket socket) {
  // Those turned away still linger for two seconds each; beyond twice the limit not even that.
  if (server_.count() >= 2 * options_.max_connections) return;
  auto connection = std::make_shared<Connection>(std::move(socket), server_);
  const bool is_too_many = server_.count() > options_.max_connections;
  auto life = [](std::shared_ptr<Connection> c, bool turn) -> asio::awaitable<void> {
    if (turn) {
      co_await c->turn_away();
    } else {
      co_await c->run();
    }
  };
  std::weak_ptr<Connection> weak = connection;
  live_.insert(weak);
  asio::co_spawn(*context_, life(std::move(connection), is_too_many), [this, weak](std::exception_ptr thrown) {
    live_.erase(weak);
    if (thrown) LOG_ERROR("a connection ended by an exception");
  });
}

void BeastServer::close_idle() {
  server_.loop->post([this] {
    server_.is_closing = true;
    error_code error;
    acceptor_->close(error);
    for (const auto& weak : live_) {
      if (auto connection = weak.lock()) connection->end_if_idle();
    }
  });
}

}  // namespace

Status check_address(const HttpServerOptions& options) {
  asio::io_context context;
  tcp::acceptor acceptor(context);
  return open(acceptor, options);
}

Result<std::unique_ptr<HttpServer>> bind_http_server(const HttpServerOptions& options, HttpService& service,
                                                     const base::Clock& clock) {
  auto server = std::make_unique<BeastServer>(options, service, clock);
  TRY(server->bind());
  return server;
}

}  // namespace autoglm::net

// SPDX-License-Identifier: Apache-2.0
// One connection of the HTTP server: reads requests under limits, has them answered, writes the answers, and notices a
// client that leaves or stalls. Everything of it happens on the network thread; other threads only post to it through
// an Exchange. Private to this folder: every file that includes it pays for Boost.Asio.
//   http_server.cc       accepts connections
//   http_connection.cc   requests in: heads, bodies, and what follows from them
//   http_answer.cc       answers out: whole and streamed
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <condition_variable>
#include <utility>

#include "base/mutex.h"
#include "net/http_server.h"

namespace autoglm::net {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using SteadyTime = std::chrono::steady_clock::time_point;

// The way from other threads to the network thread. Outlives the server in the hands of exchanges, and then leads
// nowhere.
class NetworkLoop final {
 public:
  explicit NetworkLoop(asio::io_context& context) : context_(&context) {}
  template <typename Task>
  void post(Task&& task) EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    if (context_ != nullptr) asio::post(*context_, std::forward<Task>(task));
  }
  void close() EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    context_ = nullptr;
  }

 private:
  base::Mutex mutex_;
  asio::io_context* context_ GUARDED_BY(mutex_);
};

// What all connections of a server share; network thread only, but for the counts.
struct ServerState {
  ServerState(const HttpServerOptions& o, HttpService& s, const base::Clock& c, std::shared_ptr<NetworkLoop> l)
      : options(o), service(s), clock(c), loop(std::move(l)) {}

  const HttpServerOptions& options;
  HttpService& service;
  const base::Clock& clock;
  std::shared_ptr<NetworkLoop> loop;
  std::size_t buffered_body_bytes = 0;
  bool is_closing = false;
  std::atomic<std::size_t> accepted = 0;

  void add_connection() EXCLUDES(mutex) {
    base::MutexLock lock(mutex);
    ++connections;
  }
  void remove_connection() EXCLUDES(mutex) {
    base::MutexLock lock(mutex);
    --connections;
    changed.notify_all();
  }
  bool wait_until_none(base::Time until) EXCLUDES(mutex) {
    base::MutexLock lock(mutex);
    while (connections > 0) {
      if (lock.wait_until(changed, until) == std::cv_status::timeout) return connections == 0;
    }
    return true;
  }
  std::size_t count() EXCLUDES(mutex) {
    base::MutexLock lock(mutex);
    return connections;
  }

  base::Mutex mutex;
  std::condition_variable changed;
  std::size_t connections GUARDED_BY(mutex) = 0;
};

// What the service has said so far about one request; network thread only.
struct PendingAnswer {
  std::optional<HttpResponse> head;
  std::shared_ptr<BodySource> source;  // null = the body is in `head`
  std::string comment;
  std::function<void()> gone;
  bool is_awake = false;
};

class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, ServerState& server)
      : server_(server), stream_(std::move(socket)), signal_(stream_.get_executor()) {
    server_.add_connection();
  }
  ~Connection() {
    give_back_body();
    server_.remove_connection();
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  asio::awaitable<void> run();
  asio::awaitable<void> turn_away();
  void end_if_idle();

  // From the exchange of request number `serial`; answers of earlier requests come too late and are dropped.
  void take_response(std::uint64_t serial, HttpResponse response, std::shared_ptr<BodySource> source,
                     std::string comment);
  void take_wake(std::uint64_t serial);
  void take_gone(std::uint64_t serial, std::function<void()> gone);

 private:
  enum class Next : std::uint8_t { kGoOn, kClose };
  void pump();
  void on_input(error_code error, std::size_t size);
  asio::awaitable<bool> wait_until(SteadyTime deadline);
  asio::awaitable<Next> one_request();
  asio::awaitable<Next> refuse_with(HttpResponse response);
  asio::awaitable<std::expected<std::string, HttpFault>> take_head();
  asio::awaitable<std::expected<std::string, HttpFault>> take_body(BodyFraming framing);
  asio::awaitable<std::expected<std::string, HttpFault>> take_chunked_body(SteadyTime deadline);
  std::optional<HttpFault> reserve_body(std::size_t bytes);
  void give_back_body();
  asio::awaitable<Next> answer(HttpRequest request);
  asio::awaitable<bool> write(std::string bytes);
  asio::awaitable<bool> write_response(HttpResponse response);
  asio::awaitable<bool> write_stream();
  asio::awaitable<void> linger();
  std::string head_text(HttpResponse& response, bool is_streamed);
  bool is_current(std::uint64_t serial) const { return is_answering_ && serial == serial_; }

  ServerState& server_;
  boost::beast::tcp_stream stream_;
  asio::steady_timer signal_;  // the one thing that run() sleeps on; cancelled when anything changed
  std::string inbox_;          // bytes read and not yet used
  std::string arriving_;       // where the outstanding read puts its bytes
  std::size_t read_size_ = 4096;
  bool is_reading_ = false;
  bool is_ended_ = false;  // the client has closed its side, or the connection broke
  bool is_idle_ = false;   // between requests
  bool keep_alive_ = true;
  bool is_head_request_ = false;
  bool speaks_1_0_ = false;
  bool is_answering_ = false;
  std::uint64_t serial_ = 0;
  std::size_t reserved_body_bytes_ = 0;
  PendingAnswer answer_;
};

}  // namespace autoglm::net

// SPDX-License-Identifier: Apache-2.0
// The network thread: accepts, reads under limits, writes, and notices clients that leave or stall. Everything of a
// connection happens on this one thread; other threads only post to it through an Exchange.
#include "net/http_server.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <condition_variable>
#include <set>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/mutex.h"

namespace autoglm::net {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using SteadyTime = std::chrono::steady_clock::time_point;

// The way from other threads to the network thread. Outlives the server in the hands of exchanges, and then leads
// nowhere.
class Loop final {
 public:
  explicit Loop(asio::io_context& context) : context_(&context) {}
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
struct Shared {
  Shared(const HttpServerOptions& o, HttpService& s, const base::Clock& c, std::shared_ptr<Loop> l)
      : options(o), service(s), clock(c), loop(std::move(l)) {}

  const HttpServerOptions& options;
  HttpService& service;
  const base::Clock& clock;
  std::shared_ptr<Loop> loop;
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
struct Answer {
  std::optional<HttpResponse> head;
  std::shared_ptr<BodySource> source;  // null = the body is in `head`
  std::string comment;
  std::function<void()> gone;
  bool is_awake = false;
};

class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, Shared& shared)
      : shared_(shared), stream_(std::move(socket)), signal_(stream_.get_executor()) {
    shared_.add_connection();
  }
  ~Connection() {
    give_back_body();
    shared_.remove_connection();
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

  Shared& shared_;
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
  Answer answer_;
};

// One request's answer in the hands of the service.
class ConnectionExchange final : public Exchange {
 public:
  ConnectionExchange(std::shared_ptr<Loop> loop, std::weak_ptr<Connection> connection, std::uint64_t serial)
      : loop_(std::move(loop)), connection_(std::move(connection)), serial_(serial) {}
  ~ConnectionExchange() override {
    if (is_answered_.load()) return;
    const std::string text =
        R"({"error":{"message":"the request was dropped","type":"server_error","param":null,"code":"internal"}})";
    respond({.status = 500, .fields = {{"Content-Type", "application/json"}}, .body = text});
  }
  ConnectionExchange(const ConnectionExchange&) = delete;
  ConnectionExchange& operator=(const ConnectionExchange&) = delete;

  void respond(HttpResponse response) override { stream(std::move(response), nullptr, {}); }
  void stream(HttpResponse head, std::shared_ptr<BodySource> source, std::string comment) override {
    if (is_answered_.exchange(true)) return;
    loop_->post([connection = connection_, serial = serial_, head = std::move(head), source = std::move(source),
                 comment = std::move(comment)]() mutable {
      if (auto c = connection.lock()) c->take_response(serial, std::move(head), std::move(source), std::move(comment));
    });
  }
  void wake() override {
    loop_->post([connection = connection_, serial = serial_] {
      if (auto c = connection.lock()) c->take_wake(serial);
    });
  }
  void when_gone(std::function<void()> gone) override {
    loop_->post([connection = connection_, serial = serial_, gone = std::move(gone)]() mutable {
      auto c = connection.lock();
      if (c) {
        c->take_gone(serial, std::move(gone));
      } else {
        gone();
      }
    });
  }

 private:
  const std::shared_ptr<Loop> loop_;
  const std::weak_ptr<Connection> connection_;
  const std::uint64_t serial_;
  std::atomic<bool> is_answered_ = false;
};

constexpr std::size_t kMaxPipelinedBytes = 64u << 10;
constexpr std::size_t kBodyReadSize = 64u << 10;

// ---- input: one read is always outstanding while there is room, so that a client's leaving is seen at once ----

void Connection::pump() {
  const std::size_t most = std::max(kMaxPipelinedBytes, shared_.options.head.max_head_bytes);
  if (is_reading_ || is_ended_ || inbox_.size() >= most) return;
  is_reading_ = true;
  arriving_.resize(read_size_);
  stream_.async_read_some(asio::buffer(arriving_), [self = shared_from_this()](error_code error, std::size_t size) {
    self->on_input(error, size);
  });
}

void Connection::on_input(error_code error, std::size_t size) {
  is_reading_ = false;
  inbox_.append(arriving_, 0, size);
  if (error) {
    is_ended_ = true;
    if (is_answering_ && answer_.gone) std::exchange(answer_.gone, nullptr)();
  }
  signal_.cancel();
}

// Sleeps until something changed; false when `deadline` came instead.
asio::awaitable<bool> Connection::wait_until(SteadyTime deadline) {
  signal_.expires_at(deadline);
  error_code error;
  co_await signal_.async_wait(asio::redirect_error(asio::use_awaitable, error));
  co_return error == asio::error::operation_aborted;
}

asio::awaitable<std::expected<std::string, HttpFault>> Connection::take_head() {
  std::size_t checked = 0;
  bool has_skipped = serial_ == 0;  // RFC 9112, 2.2: one empty line before a further request is forgiven
  is_idle_ = serial_ > 0;
  SteadyTime deadline =
      std::chrono::steady_clock::now() + (is_idle_ ? shared_.options.idle_timeout : shared_.options.head_timeout);
  while (true) {
    if (!has_skipped && inbox_.starts_with("\r\n")) {
      inbox_.erase(0, 2);
      has_skipped = true;
      checked = 0;
    }
    if (is_idle_ && !inbox_.empty()) {
      is_idle_ = false;
      deadline = std::chrono::steady_clock::now() + shared_.options.head_timeout;
    }
    auto size = find_head(inbox_, shared_.options.head, checked);
    if (!size) co_return std::unexpected(size.error());
    if (*size > 0) {
      is_idle_ = false;
      std::string head = inbox_.substr(0, *size);
      inbox_.erase(0, *size);
      co_return head;
    }
    if (is_ended_ || (is_idle_ && shared_.is_closing)) co_return std::unexpected(HttpFault{0, {}});
    pump();
    if (!co_await wait_until(deadline)) {
      if (is_idle_ || inbox_.empty()) co_return std::unexpected(HttpFault{0, {}});
      co_return std::unexpected(HttpFault{408, "the head of the request did not arrive in time"});
    }
    if (is_idle_ && shared_.is_closing) co_return std::unexpected(HttpFault{0, {}});
  }
}

std::optional<HttpFault> Connection::reserve_body(std::size_t bytes) {
  if (bytes > shared_.options.max_body_bytes) {
    return HttpFault{413, "the body is longer than " + std::to_string(shared_.options.max_body_bytes) + " bytes"};
  }
  if (shared_.buffered_body_bytes + bytes > shared_.options.max_buffered_body_bytes) {
    return HttpFault{503, "too many request bodies are in memory; try again"};
  }
  shared_.buffered_body_bytes += bytes;
  reserved_body_bytes_ += bytes;
  return std::nullopt;
}

void Connection::give_back_body() { shared_.buffered_body_bytes -= std::exchange(reserved_body_bytes_, 0); }

asio::awaitable<std::expected<std::string, HttpFault>> Connection::take_body(BodyFraming framing) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + shared_.options.body_timeout;
  read_size_ = kBodyReadSize;
  if (framing.is_chunked) co_return co_await take_chunked_body(deadline);
  if (auto bad = reserve_body(framing.length)) co_return std::unexpected(*bad);
  std::string body;
  while (true) {
    const std::size_t n = std::min<std::size_t>(inbox_.size(), framing.length - body.size());
    body.append(inbox_, 0, n);
    inbox_.erase(0, n);
    if (body.size() == framing.length) co_return body;
    if (is_ended_) co_return std::unexpected(HttpFault{0, {}});
    pump();
    if (!co_await wait_until(deadline)) co_return std::unexpected(HttpFault{408, "the body did not arrive in time"});
  }
}

asio::awaitable<std::expected<std::string, HttpFault>> Connection::take_chunked_body(SteadyTime deadline) {
  ChunkDecoder decoder(shared_.options.max_body_bytes);
  std::string body;
  while (true) {
    const std::size_t before = body.size();
    auto taken = decoder.feed(inbox_, body);
    if (!taken) co_return std::unexpected(taken.error());
    inbox_.erase(0, *taken);
    if (auto bad = reserve_body(body.size() - before)) co_return std::unexpected(*bad);
    if (decoder.is_done()) co_return body;
    if (is_ended_) co_return std::unexpected(HttpFault{0, {}});
    pump();
    if (!co_await wait_until(deadline)) co_return std::unexpected(HttpFault{408, "the body did not arrive in time"});
  }
}

// ---- output ----

asio::awaitable<bool> Connection::write(std::string bytes) {
  error_code error;
  stream_.expires_after(shared_.options.write_timeout);
  co_await asio::async_write(stream_, asio::buffer(bytes), asio::redirect_error(asio::use_awaitable, error));
  stream_.expires_never();
  co_return !error;
}

std::string Connection::head_text(HttpResponse& response, bool is_streamed) {
  if (shared_.is_closing || is_ended_ || speaks_1_0_) keep_alive_ = false;
  std::vector<HttpField> fields = std::move(response.fields);
  fields.push_back({"Date", http_date(shared_.clock.unix_seconds())});
  if (is_streamed && !speaks_1_0_) fields.push_back({"Transfer-Encoding", "chunked"});
  if (!is_streamed && response.status != 204)
    fields.push_back({"Content-Length", std::to_string(response.body.size())});
  if (!keep_alive_) fields.push_back({"Connection", "close"});
  if (auto head = format_head(response.status, fields)) return *head;
  // A field of the answer held a CR, LF or NUL: nothing of it may go out.
  keep_alive_ = false;
  response.body.clear();
  return "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
}

asio::awaitable<bool> Connection::write_response(HttpResponse response) {
  std::string bytes = head_text(response, false);
  if (!is_head_request_ && response.status != 204) bytes.append(response.body);
  co_return co_await write(std::move(bytes));
}

// One chunk of a chunked body; HTTP/1.0 gets the bytes as they are and sees the end when the connection closes.
std::string framed(std::string bytes, bool is_plain) {
  if (is_plain || bytes.empty()) return bytes;
  std::array<char, 20> size{};
  const int n = std::snprintf(size.data(), size.size(), "%zx\r\n", bytes.size());
  bytes.insert(0, size.data(), static_cast<std::size_t>(n));
  bytes.append("\r\n");
  return bytes;
}

asio::awaitable<bool> Connection::write_stream() {
  std::string out = head_text(*answer_.head, true);
  if (is_head_request_) co_return co_await write(std::move(out));
  bool is_last = false;
  while (true) {
    answer_.is_awake = false;
    std::string body;
    is_last = answer_.source->pull(body);
    out.append(framed(std::move(body), speaks_1_0_));
    if (is_last && !speaks_1_0_) out.append("0\r\n\r\n");
    if (!out.empty() && !co_await write(std::exchange(out, {}))) co_return false;
    if (is_last) co_return true;
    if (is_ended_) co_return false;
    const SteadyTime quiet_until = std::chrono::steady_clock::now() + shared_.options.comment_interval;
    while (!answer_.is_awake && !is_ended_) {
      pump();
      if (co_await wait_until(quiet_until)) continue;
      out = framed(answer_.comment, speaks_1_0_);
      break;
    }
    if (is_ended_) co_return false;
  }
}

void Connection::take_response(std::uint64_t serial, HttpResponse response, std::shared_ptr<BodySource> source,
                               std::string comment) {
  if (!is_current(serial) || answer_.head) return;
  answer_.head = std::move(response);
  answer_.source = std::move(source);
  answer_.comment = std::move(comment);
  signal_.cancel();
}

void Connection::take_wake(std::uint64_t serial) {
  if (!is_current(serial)) return;
  answer_.is_awake = true;
  signal_.cancel();
}

void Connection::take_gone(std::uint64_t serial, std::function<void()> gone) {
  if (!is_current(serial)) return;
  if (is_ended_) {
    gone();
  } else {
    answer_.gone = std::move(gone);
  }
}

asio::awaitable<Connection::Next> Connection::answer(HttpRequest request) {
  ++serial_;
  is_answering_ = true;
  answer_ = {};
  read_size_ = 4096;
  if (!is_reading_) arriving_ = {};  // gives back what a body needed
  pump();                            // the client's leaving is seen while the service works
  shared_.service.serve(std::move(request),
                        std::make_shared<ConnectionExchange>(shared_.loop, weak_from_this(), serial_));
  while (!answer_.head) {
    pump();
    co_await wait_until(SteadyTime::max());
  }
  const bool is_written = answer_.source ? co_await write_stream() : co_await write_response(std::move(*answer_.head));
  is_answering_ = false;
  give_back_body();
  Answer finished = std::exchange(answer_, {});
  if (!is_written && finished.gone) finished.gone();
  co_return is_written&& keep_alive_ && !is_ended_ ? Next::kGoOn : Next::kClose;
}

asio::awaitable<Connection::Next> Connection::refuse_with(HttpResponse response) {
  keep_alive_ = false;
  if (co_await write_response(std::move(response))) co_await linger();
  co_return Next::kClose;
}

// Reads and drops what the client is still sending, within bounds, so that closing does not reset the connection before
// the client has read our answer (RFC 9112, 9.6).
asio::awaitable<void> Connection::linger() {
  error_code error;
  stream_.socket().shutdown(tcp::socket::shutdown_send, error);
  const SteadyTime deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  std::size_t dropped = 0;
  while (!is_ended_ && dropped <= shared_.options.max_body_bytes) {
    dropped += inbox_.size();
    inbox_.clear();
    pump();
    if (!co_await wait_until(deadline)) break;
  }
}

bool names_option(std::string_view list, std::string_view option) {
  const std::string lower = lower_ascii(list);
  std::size_t at = 0;
  while (at <= lower.size()) {
    const std::size_t comma = std::min(lower.find(',', at), lower.size());
    std::string_view item = std::string_view(lower).substr(at, comma - at);
    while (!item.empty() && (item.front() == ' ' || item.front() == '\t')) item.remove_prefix(1);
    while (!item.empty() && (item.back() == ' ' || item.back() == '\t')) item.remove_suffix(1);
    if (item == option) return true;
    at = comma + 1;
  }
  return false;
}

asio::awaitable<Connection::Next> Connection::one_request() {
  is_head_request_ = false;
  auto head = co_await take_head();
  if (!head && head.error().status == 0) co_return Next::kClose;
  if (!head) co_return co_await refuse_with(shared_.service.explain(head.error()));
  auto framing = check_head(*head, shared_.options.head);
  if (!framing) co_return co_await refuse_with(shared_.service.explain(framing.error()));
  auto request = net::read_head(*head, shared_.options.head);
  if (!request) co_return co_await refuse_with(shared_.service.explain(request.error()));
  is_head_request_ = request->method == "HEAD";
  speaks_1_0_ = request->minor_version == 0;
  for (const HttpField& field : request->fields) {
    if (field.name == "connection" && names_option(field.value, "close")) keep_alive_ = false;
  }
  const bool has_body = framing->is_chunked || framing->length > 0;
  if (auto refusal = shared_.service.refuse(*request)) {
    if (has_body) co_return co_await refuse_with(std::move(*refusal));
    ++serial_;
    const bool is_written = co_await write_response(std::move(*refusal));
    co_return is_written&& keep_alive_ && !is_ended_ ? Next::kGoOn : Next::kClose;
  }
  if (framing->length > shared_.options.max_body_bytes) {
    co_return co_await refuse_with(shared_.service.explain(
        {413, "the body is longer than " + std::to_string(shared_.options.max_body_bytes) + " bytes"}));
  }
  if (const std::string_view expect = request->field("expect"); !expect.empty()) {
    if (lower_ascii(expect) != "100-continue") {
      co_return co_await refuse_with(shared_.service.explain({417, "the only expectation understood is 100-continue"}));
    }
    if (has_body && inbox_.empty() && !co_await write("HTTP/1.1 100 Continue\r\n\r\n")) co_return Next::kClose;
  }
  auto body = co_await take_body(*framing);
  if (!body) {
    give_back_body();
    if (body.error().status == 0) co_return Next::kClose;
    co_return co_await refuse_with(shared_.service.explain(body.error()));
  }
  request->body = std::move(*body);
  co_return co_await answer(std::move(*request));
}

asio::awaitable<void> Connection::run() {
  error_code error;
  stream_.socket().set_option(tcp::no_delay(true), error);
  stream_.expires_never();
  while (co_await one_request() == Next::kGoOn) {
  }
  stream_.socket().shutdown(tcp::socket::shutdown_both, error);
  stream_.close();
}

asio::awaitable<void> Connection::turn_away() {
  stream_.expires_never();
  co_await refuse_with(shared_.service.explain({503, "too many connections are open; try again"}));
  stream_.close();
}

void Connection::end_if_idle() { signal_.cancel(); }

// ---- the server ----

class BeastServer final : public HttpServer {
 public:
  BeastServer(const HttpServerOptions& options, HttpService& service, const base::Clock& clock)
      : options_(options),
        context_(std::make_unique<asio::io_context>(1)),
        acceptor_(std::in_place, *context_),
        retry_(std::in_place, *context_),
        shared_(options_, service, clock, std::make_shared<Loop>(*context_)) {}
  ~BeastServer() override {
    shared_.loop->close();
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
  std::size_t connections() const override { return shared_.count(); }
  std::size_t accepted() const override { return shared_.accepted.load(); }
  void start() override {
    thread_ = std::thread([this] { context_->run(); });
  }
  bool wait_until_none(base::Time until) override { return shared_.wait_until_none(until); }
  void close_idle() override;

 private:
  asio::awaitable<void> accept_all();
  void begin(tcp::socket socket);

  const HttpServerOptions options_;
  std::unique_ptr<asio::io_context> context_;
  std::optional<tcp::acceptor> acceptor_;
  std::optional<asio::steady_timer> retry_;
  mutable Shared shared_;
  std::set<std::weak_ptr<Connection>, std::owner_less<>> live_;  // network thread
  std::uint16_t port_ = 0;
  std::thread thread_;
};

Status BeastServer::bind() {
  error_code error;
  const auto address = asio::ip::make_address(options_.host == "localhost" ? "127.0.0.1" : options_.host, error);
  if (error)
    return fail(Code::kInvalidArgument, "the host must be an IP address or localhost, not \"" + options_.host + "\"",
                "host");
  const tcp::endpoint endpoint(address, options_.port);
  acceptor_->open(endpoint.protocol(), error);
  if (!error) acceptor_->set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_->bind(endpoint, error);
  const std::string place = options_.host + " port " + std::to_string(options_.port);
  if (error == asio::error::address_in_use)
    return fail(Code::kUnavailable, "another program listens on " + place + " already");
  if (error == asio::error::access_denied) return fail(Code::kPermissionDenied, "this user may not listen on " + place);
  if (!error) acceptor_->listen(1024, error);
  if (error) return fail(Code::kUnavailable, "cannot listen on " + place + ": it is no address of this machine");
  port_ = acceptor_->local_endpoint(error).port();
  asio::co_spawn(*context_, accept_all(), asio::detached);
  return {};
}

asio::awaitable<void> BeastServer::accept_all() {
  while (!shared_.is_closing) {
    error_code error;
    tcp::socket socket = co_await acceptor_->async_accept(asio::redirect_error(asio::use_awaitable, error));
    if (!error) {
      ++shared_.accepted;
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
  if (shared_.count() >= 2 * options_.max_connections) return;
  auto connection = std::make_shared<Connection>(std::move(socket), shared_);
  const bool is_too_many = shared_.count() > options_.max_connections;
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
  shared_.loop->post([this] {
    shared_.is_closing = true;
    error_code error;
    acceptor_->close(error);
    for (const auto& weak : live_) {
      if (auto connection = weak.lock()) connection->end_if_idle();
    }
  });
}

}  // namespace

Result<std::unique_ptr<HttpServer>> bind_http_server(const HttpServerOptions& options, HttpService& service,
                                                     const base::Clock& clock) {
  auto server = std::make_unique<BeastServer>(options, service, clock);
  TRY(server->bind());
  return server;
}

}  // namespace autoglm::net

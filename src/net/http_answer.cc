// SPDX-License-Identifier: Apache-2.0
// Answers out: whole, streamed from other threads, or a refusal that ends the connection.
#include <algorithm>
#include <array>
#include <boost/asio/write.hpp>

#include "net/http_connection.h"

namespace autoglm::net {
namespace {

// One request's answer in the hands of the service.
class ConnectionExchange final : public Exchange {
 public:
  ConnectionExchange(std::shared_ptr<NetworkLoop> loop, std::weak_ptr<Connection> connection, std::uint64_t serial)
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
  const std::shared_ptr<NetworkLoop> loop_;
  const std::weak_ptr<Connection> connection_;
  const std::uint64_t serial_;
  std::atomic<bool> is_answered_ = false;
};

// One chunk of a chunked body; HTTP/1.0 gets the bytes as they are and sees the end when the connection closes.
std::string framed(std::string bytes, bool is_plain) {
  if (is_plain || bytes.empty()) return bytes;
  std::array<char, 20> size{};
  const int n = std::snprintf(size.data(), size.size(), "%zx\r\n", bytes.size());
  bytes.insert(0, size.data(), static_cast<std::size_t>(n));
  bytes.append("\r\n");
  return bytes;
}

}  // namespace

asio::awaitable<bool> Connection::write(std::string bytes) {
  error_code error;
  stream_.expires_after(server_.options.write_timeout);
  co_await asio::async_write(stream_, asio::buffer(bytes), asio::redirect_error(asio::use_awaitable, error));
  stream_.expires_never();
  co_return !error;
}

std::string Connection::head_text(HttpResponse& response, bool is_streamed) {
  if (server_.is_closing || is_ended_ || speaks_1_0_) keep_alive_ = false;
  std::vector<HttpField> fields = std::move(response.fields);
  fields.push_back({"Date", http_date(server_.clock.unix_seconds())});
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
    const SteadyTime quiet_until = std::chrono::steady_clock::now() + server_.options.comment_interval;
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
  server_.service.serve(std::move(request),
                        std::make_shared<ConnectionExchange>(server_.loop, weak_from_this(), serial_));
  while (!answer_.head) {
    pump();
    co_await wait_until(SteadyTime::max());
  }
  const bool is_written = answer_.source ? co_await write_stream() : co_await write_response(std::move(*answer_.head));
  is_answering_ = false;
  give_back_body();
  PendingAnswer finished = std::exchange(answer_, {});
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
  while (!is_ended_ && dropped <= server_.options.max_body_bytes) {
    dropped += inbox_.size();
    inbox_.clear();
    pump();
    if (!co_await wait_until(deadline)) break;
  }
}

}  // namespace autoglm::net

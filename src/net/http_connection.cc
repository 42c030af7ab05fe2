// SPDX-License-Identifier: Apache-2.0
// Requests in: heads and bodies under limits of size and time, and what becomes of each request.
#include <algorithm>

#include "net/http_connection.h"

namespace autoglm::net {
namespace {

constexpr std::size_t kMaxPipelinedBytes = 64u << 10;
constexpr std::size_t kBodyReadSize = 64u << 10;

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

}  // namespace

// One read is always outstanding while there is room, so that a client's leaving is seen at once.

void Connection::pump() {
  const std::size_t most = std::max(kMaxPipelinedBytes, server_.options.head.max_head_bytes);
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
      std::chrono::steady_clock::now() + (is_idle_ ? server_.options.idle_timeout : server_.options.head_timeout);
  while (true) {
    if (!has_skipped && inbox_.starts_with("\r\n")) {
      inbox_.erase(0, 2);
      has_skipped = true;
      checked = 0;
    }
    if (is_idle_ && !inbox_.empty()) {
      is_idle_ = false;
      deadline = std::chrono::steady_clock::now() + server_.options.head_timeout;
    }
    auto size = find_head(inbox_, server_.options.head, checked);
    if (!size) co_return std::unexpected(size.error());
    if (*size > 0) {
      is_idle_ = false;
      std::string head = inbox_.substr(0, *size);
      inbox_.erase(0, *size);
      co_return head;
    }
    if (is_ended_ || (is_idle_ && server_.is_closing)) co_return std::unexpected(HttpFault{0, {}});
    pump();
    if (!co_await wait_until(deadline)) {
      if (is_idle_ || inbox_.empty()) co_return std::unexpected(HttpFault{0, {}});
      co_return std::unexpected(HttpFault{408, "the head of the request did not arrive in time"});
    }
    if (is_idle_ && server_.is_closing) co_return std::unexpected(HttpFault{0, {}});
  }
}

std::optional<HttpFault> Connection::reserve_body(std::size_t bytes) {
  if (bytes > server_.options.max_body_bytes) {
    return HttpFault{413, "the body is longer than " + std::to_string(server_.options.max_body_bytes) + " bytes"};
  }
  if (server_.buffered_body_bytes + bytes > server_.options.max_buffered_body_bytes) {
    return HttpFault{503, "too many request bodies are in memory; try again"};
  }
  server_.buffered_body_bytes += bytes;
  reserved_body_bytes_ += bytes;
  return std::nullopt;
}

void Connection::give_back_body() { server_.buffered_body_bytes -= std::exchange(reserved_body_bytes_, 0); }

asio::awaitable<std::expected<std::string, HttpFault>> Connection::take_body(BodyFraming framing) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + server_.options.body_timeout;
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
  ChunkDecoder decoder(server_.options.max_body_bytes);
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

asio::awaitable<Connection::Next> Connection::one_request() {
  is_head_request_ = false;
  auto head = co_await take_head();
  if (!head && head.error().status == 0) co_return Next::kClose;
  if (!head) co_return co_await refuse_with(server_.service.explain(head.error()));
  auto framing = check_head(*head, server_.options.head);
  if (!framing) co_return co_await refuse_with(server_.service.explain(framing.error()));
  auto request = net::read_head(*head, server_.options.head);
  if (!request) co_return co_await refuse_with(server_.service.explain(request.error()));
  is_head_request_ = request->method == "HEAD";
  speaks_1_0_ = request->minor_version == 0;
  for (const HttpField& field : request->fields) {
    if (field.name == "connection" && names_option(field.value, "close")) keep_alive_ = false;
  }
  const bool has_body = framing->is_chunked || framing->length > 0;
  if (auto refusal = server_.service.refuse(*request)) {
    if (has_body) co_return co_await refuse_with(std::move(*refusal));
    ++serial_;
    const bool is_written = co_await write_response(std::move(*refusal));
    co_return is_written&& keep_alive_ && !is_ended_ ? Next::kGoOn : Next::kClose;
  }
  if (framing->length > server_.options.max_body_bytes) {
    co_return co_await refuse_with(server_.service.explain(
        {413, "the body is longer than " + std::to_string(server_.options.max_body_bytes) + " bytes"}));
  }
  if (const std::string_view expect = request->field("expect"); !expect.empty()) {
    if (lower_ascii(expect) != "100-continue") {
      co_return co_await refuse_with(server_.service.explain({417, "the only expectation understood is 100-continue"}));
    }
    if (has_body && inbox_.empty() && !co_await write("HTTP/1.1 100 Continue\r\n\r\n")) co_return Next::kClose;
  }
  auto body = co_await take_body(*framing);
  if (!body) {
    give_back_body();
    if (body.error().status == 0) co_return Next::kClose;
    co_return co_await refuse_with(server_.service.explain(body.error()));
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
  co_await refuse_with(server_.service.explain({503, "too many connections are open; try again"}));
  stream_.close();
}

void Connection::end_if_idle() { signal_.cancel(); }

}  // namespace autoglm::net

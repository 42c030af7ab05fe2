// SPDX-License-Identifier: Apache-2.0
#include "net/http_client.h"

#include <fmt/format.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

namespace autoglm::net {
namespace {

namespace http = boost::beast::http;
using ResponseParser = http::response_parser<http::buffer_body>;

std::string_view find_field(const HttpFields& fields, std::string_view name) {
  const auto found = std::ranges::find(fields, name, &HttpFields::value_type::first);
  return found == fields.end() ? std::string_view() : std::string_view(found->second);
}

// One exchange on one connection: bytes come in through a window that the parser eats from.
class Exchange final {
 public:
  Exchange(ClientSocket socket, std::size_t max_header_bytes)
      : socket_(std::move(socket)), window_(std::max<std::size_t>(max_header_bytes, 64u << 10)) {
    parser_.header_limit(static_cast<std::uint32_t>(max_header_bytes));
    parser_.body_limit(boost::none);
  }

  Status send(std::string_view request) { return socket_.write(request); }

  Result<int> read_head() {
    while (!parser_.is_header_done()) {
      TRY(fill());
      TRY(feed());
    }
    return parser_.get().result_int();
  }

  HttpFields fields() const {
    HttpFields fields;
    for (const auto& field : parser_.get()) {
      std::string name(field.name_string());
      std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      fields.emplace_back(std::move(name), std::string(field.value()));
    }
    return fields;
  }

  Status read_body(const BodySink& sink) {
    parser_.eager(true);
    std::array<char, 64u << 10> out;
    while (!parser_.is_done()) {
      auto& body = parser_.get().body();
      body.data = out.data();
      body.size = out.size();
      if (!needs_bytes_) TRY(feed());
      if (const std::size_t got = out.size() - parser_.get().body().size; got > 0) {
        received_ += got;
        TRY(sink(std::string_view(out.data(), got)));
      }
      if (needs_bytes_ && !parser_.is_done()) TRY(fill());
    }
    return {};
  }

 private:
  // Reads more bytes behind those that are left; at the peer's close, tells the parser.
  Status fill() {
    if (begin_ > 0) {
      std::copy(window_.begin() + static_cast<std::ptrdiff_t>(begin_),
                window_.begin() + static_cast<std::ptrdiff_t>(end_), window_.begin());
      end_ -= begin_;
      begin_ = 0;
    }
    if (end_ == window_.size()) return fail(Code::kExhausted, "a response header is larger than is read");
    const std::size_t got = TRY(socket_.read(std::span(window_).subspan(end_)));
    needs_bytes_ = false;
    if (got > 0) {
      end_ += got;
      return {};
    }
    boost::system::error_code error;
    if (parser_.got_some()) parser_.put_eof(error);
    if (!error && parser_.is_header_done()) return {};
    return fail(Code::kUnavailable,
                fmt::format("the server closed the connection too early, after {} bytes", received_));
  }

  Status feed() {
    if (begin_ == end_) {
      needs_bytes_ = true;
      return {};
    }
    boost::system::error_code error;
    begin_ += parser_.put(boost::asio::const_buffer(window_.data() + begin_, end_ - begin_), error);
    if (error == http::error::need_more) {
      needs_bytes_ = true;
      return {};
    }
    if (!error || error == http::error::need_buffer) return {};
    if (error == http::error::header_limit)
      return fail(Code::kExhausted, "the response's header is larger than is read");
    return fail(Code::kCorrupt, fmt::format("the server's answer is not HTTP: {}", error.message()));
  }

  ClientSocket socket_;
  ResponseParser parser_;
  std::vector<char> window_;
  std::size_t begin_ = 0, end_ = 0;
  bool needs_bytes_ = false;
  std::uint64_t received_ = 0;
};

Result<std::string> request_text(const HttpGet& get, const Url& url, bool is_first_host) {
  std::string text = fmt::format(
      "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: openautoglm\r\nAccept: */*\r\n"
      "Accept-Encoding: identity\r\nConnection: close\r\n",
      url.target, authority(url));
  for (const auto& [name, value] : get.fields) {
    if ((name + value).find_first_of("\r\n") != std::string::npos) {
      return fail(Code::kInvalidArgument, fmt::format("the header {} holds a line break", name.substr(0, 40)));
    }
    if (name != "authorization" || is_first_host) text += fmt::format("{}: {}\r\n", name, value);
  }
  if (get.offset > 0) {
    text += fmt::format("Range: bytes={}-\r\n", get.offset);
    if (!get.etag.empty()) text += fmt::format("If-Range: {}\r\n", get.etag);
  }
  return text + "\r\n";
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

}  // namespace

std::string_view HttpReply::field(std::string_view lower_case_name) const {
  return find_field(fields, lower_case_name);
}

std::string_view HttpReply::first_field(std::string_view lower_case_name) const {
  const auto earlier = find_field(earlier_fields, lower_case_name);
  return earlier.empty() ? field(lower_case_name) : earlier;
}

Result<HttpReply> http_get(const HttpGet& get, const HeadSink& on_head, const BodySink& on_body) {
  const Url first = TRY(parse_url(get.url));
  Url url = first;
  HttpReply reply;
  bool is_first_host = true;
  for (int redirects = 0;; ++redirects) {
    const std::string request = TRY(request_text(get, url, is_first_host));
    Exchange exchange(TRY(ClientSocket::connect(url, get.socket)), get.max_header_bytes);
    TRY(exchange.send(request));
    reply.status = TRY(exchange.read_head());
    reply.fields = exchange.fields();
    reply.url = format_url(url);
    const std::string_view location = reply.field("location");
    if (!is_redirect(reply.status) || location.empty()) {
      TRY(on_head(reply));
      if (reply.status != 200 && reply.status != 206) return reply;
      if (const auto coding = reply.field("content-encoding"); !coding.empty() && coding != "identity") {
        return fail(Code::kCorrupt, "the server compressed the answer although it was asked not to");
      }
      TRY(exchange.read_body(on_body));
      return reply;
    }
    if (redirects >= get.max_redirects) {
      return fail(Code::kExhausted,
                  fmt::format("{} redirects to more than {} places in a row", get.url, get.max_redirects));
    }
    Url next = TRY(resolve_location(url, location));
    if (url.is_tls && !next.is_tls) {
      return fail(Code::kPermissionDenied,
                  fmt::format("{} redirects from https to plain http; refused", authority(url)));
    }
    // Once another host was asked, the secret stays home, even if that host sends us back.
    is_first_host = is_first_host && next.host == first.host && next.port == first.port && next.is_tls == first.is_tls;
    reply.earlier_fields.insert(reply.earlier_fields.end(), reply.fields.begin(), reply.fields.end());
    url = std::move(next);
  }
}

}  // namespace autoglm::net

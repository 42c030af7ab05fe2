// SPDX-License-Identifier: Apache-2.0
#include "net/http_client.h"

#include <fmt/format.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>

#include <algorithm>
#include <array>
#include <optional>

#include "net/http_wire.h"

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
  Exchange(ClientSocket socket, std::size_t max_header_bytes, bool has_no_body)
      : socket_(std::move(socket)), window_(std::max<std::size_t>(max_header_bytes, 64u << 10)) {
    parser_.skip(has_no_body);
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

// What says nothing about who asks.
bool is_for_any_host(std::string_view name) {
  constexpr std::string_view kNames[] = {"accept",   "accept-language", "content-type",
                                         "if-range", "range",           "user-agent"};
  return std::ranges::count(kNames, name) > 0;
}

Result<std::string> request_text(const HttpCall& call, const Url& url, bool is_first_host) {
  if (!is_token(call.method)) {
    return fail(Code::kInvalidArgument, fmt::format("'{}' is not an HTTP method", call.method.substr(0, 40)));
  }
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nAccept-Encoding: identity\r\nConnection: close\r\n",
                                 call.method, url.target, authority(url));
  if (find_field(call.fields, "user-agent").empty()) text += "User-Agent: openautoglm\r\n";
  if (find_field(call.fields, "accept").empty()) text += "Accept: */*\r\n";
  for (const auto& [name, value] : call.fields) {
    if (!is_token(name) || value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
      return fail(Code::kInvalidArgument, fmt::format("the header {} cannot be sent: it holds a line break or its name "
                                                      "is none",
                                                      name.substr(0, 40)));
    }
    if (is_first_host || is_for_any_host(name)) text += fmt::format("{}: {}\r\n", name, value);
  }
  const bool has_body = !call.body.empty() || call.method == "POST" || call.method == "PUT" || call.method == "PATCH";
  if (has_body) text += fmt::format("Content-Length: {}\r\n", call.body.size());
  return text + "\r\n" + call.body;
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// RFC 9110, 15.4: what a redirect makes of a request that is no plain question.
void redirect(HttpCall& call, int status) {
  const bool is_question = call.method == "GET" || call.method == "HEAD";
  if (status == 307 || status == 308 || is_question) return;
  if (status != 303 && call.method != "POST") return;
  call.method = "GET";
  call.body.clear();
  std::erase_if(call.fields, [](const auto& field) { return field.first == "content-type"; });
}

// As http_call(); with `only_success` the bodies of other statuses than 200 and 206 are not read.
Result<HttpReply> transfer(HttpCall call, const HeadSink& on_head, const BodySink& on_body, bool only_success) {
  const Url first = TRY(parse_url(call.url));
  Url url = first;
  HttpReply reply;
  bool is_first_host = true;
  for (int redirects = 0;; ++redirects) {
    if (call.admits) TRY(call.admits(url));
    const std::string request = TRY(request_text(call, url, is_first_host));
    Exchange exchange(TRY(ClientSocket::connect(url, call.socket)), call.max_header_bytes, call.method == "HEAD");
    TRY(exchange.send(request));
    reply.status = TRY(exchange.read_head());
    reply.fields = exchange.fields();
    reply.url = format_url(url);
    const std::string_view location = reply.field("location");
    if (!is_redirect(reply.status) || location.empty()) {
      TRY(on_head(reply));
      if (only_success && reply.status != 200 && reply.status != 206) return reply;
      if (const auto coding = reply.field("content-encoding"); !coding.empty() && coding != "identity") {
        return fail(Code::kCorrupt, "the server compressed the answer although it was asked not to");
      }
      TRY(exchange.read_body(on_body));
      return reply;
    }
    if (redirects >= call.max_redirects) {
      return fail(Code::kExhausted,
                  fmt::format("{} redirects to more than {} places in a row", call.url, call.max_redirects));
    }
    Url next = TRY(resolve_location(url, location));
    if (url.is_tls && !next.is_tls) {
      return fail(Code::kPermissionDenied,
                  fmt::format("{} redirects from https to plain http; refused", authority(url)));
    }
    // Once another host was asked, the secret stays home, even if that host sends us back.
    is_first_host = is_first_host && next.host == first.host && next.port == first.port && next.is_tls == first.is_tls;
    reply.earlier_fields.insert(reply.earlier_fields.end(), reply.fields.begin(), reply.fields.end());
    redirect(call, reply.status);
    url = std::move(next);
  }
}

}  // namespace

std::string_view HttpReply::field(std::string_view lower_case_name) const {
  return find_field(fields, lower_case_name);
}

std::string_view HttpReply::first_field(std::string_view lower_case_name) const {
  const auto earlier = find_field(earlier_fields, lower_case_name);
  return earlier.empty() ? field(lower_case_name) : earlier;
}

Result<HttpReply> http_call(const HttpCall& call, const HeadSink& on_head, const BodySink& on_body) {
  return transfer(call, on_head, on_body, false);
}

Result<HttpReply> http_get(const HttpGet& get, const HeadSink& on_head, const BodySink& on_body) {
  HttpCall call{.url = get.url,
                .fields = get.fields,
                .max_header_bytes = get.max_header_bytes,
                .max_redirects = get.max_redirects,
                .socket = get.socket};
  if (get.offset > 0) {
    call.fields.emplace_back("range", fmt::format("bytes={}-", get.offset));
    if (!get.etag.empty()) call.fields.emplace_back("if-range", get.etag);
  }
  return transfer(std::move(call), on_head, on_body, true);
}

}  // namespace autoglm::net

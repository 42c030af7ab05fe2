// SPDX-License-Identifier: Apache-2.0
// Reads request heads with Beast's parser. Only heads that check_head() let through come here: Beast alone would accept
// folded fields and lenient chunk framing.
#include <algorithm>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <cstdint>
#include <limits>

#include "net/http_wire.h"

namespace autoglm::net {
namespace http = boost::beast::http;

std::expected<HttpRequest, HttpFault> read_head(std::string_view head, const HeadLimits& limits) {
  http::request_parser<http::empty_body> parser;
  parser.header_limit(static_cast<std::uint32_t>(
      std::min<std::size_t>(limits.max_head_bytes, std::numeric_limits<std::int32_t>::max())));
  parser.body_limit(boost::none);  // counted by whoever reads the body
  boost::system::error_code error;
  parser.put(boost::asio::buffer(head.data(), head.size()), error);
  if ((error && error != http::error::need_more) || !parser.is_header_done()) {
    return std::unexpected(HttpFault{400, "the head of the request cannot be read"});
  }
  const auto& message = parser.get();
  HttpRequest request;
  request.method.assign(message.method_string().data(), message.method_string().size());
  std::string_view authority;
  const std::string_view target = path_of_target({message.target().data(), message.target().size()}, authority);
  const auto question = target.find('?');
  request.path = target.substr(0, question);
  if (question != std::string_view::npos) request.query = target.substr(question + 1);
  request.minor_version = static_cast<int>(message.version() % 10);
  for (const auto& field : message) {
    request.fields.push_back({lower_ascii({field.name_string().data(), field.name_string().size()}),
                              std::string(field.value().data(), field.value().size())});
  }
  return request;
}

}  // namespace autoglm::net

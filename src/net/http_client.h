// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 requests whose answers stream: plain or TLS, redirects, ranges. For downloads of the model hub and for the
// agent's tools; they block their thread. It never buffers a body, never follows https to http, and gives what the
// caller's fields hold to nobody but the first host.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "net/client_socket.h"

namespace autoglm::net {

using HttpFields = std::vector<std::pair<std::string, std::string>>;  // names in lower case

struct HttpGet {
  std::string url;
  HttpFields fields;                         // besides Host, Range and the like; values without line breaks
  std::uint64_t offset = 0;                  // first byte wanted
  std::string etag;                          // of the bytes already held; sent as If-Range with offset > 0
  std::size_t max_header_bytes = 64u << 10;  // of each response
  int max_redirects = 5;
  SocketOptions socket;
};

struct HttpCall {
  std::string method = "GET";
  std::string url;
  HttpFields fields;  // besides Host, Connection and Content-Length; values without line breaks
  std::string body;
  std::size_t max_header_bytes = 64u << 10;  // of each response
  int max_redirects = 5;
  std::function<Status(const Url&)> admits;  // asked for the URL and for each that it redirects to; may be empty
  SocketOptions socket;
};

struct HttpReply {
  int status = 0;
  HttpFields fields;          // of the last response
  HttpFields earlier_fields;  // of the redirects before it, in order
  std::string url;            // the one that answered

  /// The value of a field in the last response, else empty.
  std::string_view field(std::string_view lower_case_name) const;
  /// As field(), but the redirects' come first: the first host's word counts.
  std::string_view first_field(std::string_view lower_case_name) const;
};

using HeadSink = std::function<Status(const HttpReply&)>;
using BodySink = std::function<Status(std::string_view)>;

/// Calls on_head once for the last response, whatever its status, then on_body with its body's bytes as they come.
/// After a redirect that is not to be repeated as it was (303; 301 and 302 of a POST) it goes on with a GET without a
/// body.
///   Errors   kInvalidArgument (URL, method, fields), kUnavailable (network; cut short), kPermissionDenied
///            (certificate, https -> http), kExhausted (headers, redirects), kCorrupt (not HTTP, compressed),
///            kCancelled, and what the sinks and `admits` return
Result<HttpReply> http_call(const HttpCall& call, const HeadSink& on_head, const BodySink& on_body);

/// A GET. Calls on_head once for the last response and, when its status is 200 or 206, on_body with its bytes as they
/// come. Other statuses are a reply, not an error; their bodies are not read.
///   Errors   as http_call()
Result<HttpReply> http_get(const HttpGet& get, const HeadSink& on_head, const BodySink& on_body);

}  // namespace autoglm::net

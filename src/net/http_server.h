// SPDX-License-Identifier: Apache-2.0
// An HTTP/1.1 server: one network thread, many connections. It reads requests under limits of size and time, hands them
// to an HttpService and writes the answers, whole or as a stream fed from other threads. Knows nothing of what is
// served.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "net/http_message.h"
#include "net/http_wire.h"

namespace autoglm::net {

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;  // 0 = any free port
  HeadLimits head;
  std::size_t max_body_bytes = 8u << 20;
  std::size_t max_buffered_body_bytes = 256u
                                        << 20;  // of all connections together, while requests are read and answered
  std::size_t max_connections = 4096;
  std::chrono::milliseconds head_timeout{10'000};  // from a request's first byte, or from accepting the connection
  std::chrono::milliseconds body_timeout{60'000};
  std::chrono::milliseconds idle_timeout{75'000};      // between requests of one connection
  std::chrono::milliseconds write_timeout{30'000};     // a client that does not read is cut off after this
  std::chrono::milliseconds comment_interval{15'000};  // between keep-alive comments on a stream without events
};

// Where the body of a streamed answer comes from. pull() is called on the network thread after each Exchange::wake().
class BodySource {
 public:
  virtual ~BodySource() = default;
  /// Appends what is ready to `out`; true when the body is complete.
  virtual bool pull(std::string& out) = 0;
};

// One request's answer. Exactly one of respond() and stream() is to be called; an exchange dropped without either is
// answered with 500. Any thread; calls after the client has left do nothing.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual void respond(HttpResponse response) = 0;
  /// Sends the head, then what `source` has whenever wake() is called. `comment` is sent when nothing was for the
  /// interval.
  virtual void stream(HttpResponse head, std::shared_ptr<BodySource> source, std::string comment) = 0;
  virtual void wake() = 0;
  /// `gone` is called once, on the network thread, when the client leaves before its answer is complete; also when it
  /// has left already.
  virtual void when_gone(std::function<void()> gone) = 0;
};

// What answers. Both calls come on the network thread and must return at once; work goes to other threads.
class HttpService {
 public:
  virtual ~HttpService() = default;
  /// Refuses a request by its head, before its body is read; nothing = go on.
  virtual std::optional<HttpResponse> refuse(const HttpRequest& head) = 0;
  virtual void serve(HttpRequest request, std::shared_ptr<Exchange> exchange) = 0;
  /// The answer to bytes that are no request (400, 408, 413, 431, ...) or that come in too great a number (503).
  virtual HttpResponse explain(const HttpFault& fault) = 0;
};

class HttpServer {
 public:
  virtual ~HttpServer() = default;  // closes everything at once; the exchanges still held by others become inert
  virtual std::uint16_t port() const = 0;
  /// Starts the network thread; before, connections wait in the kernel's queue. Once.
  virtual void start() = 0;
  virtual std::size_t connections() const = 0;  // open now
  virtual std::size_t accepted() const = 0;     // since the start
  /// Ends keep-alive: every connection closes after its present answer, idle ones at once; new ones are not accepted.
  virtual void close_idle() = 0;
  /// False when connections are left at `until`. Any thread but the network one.
  virtual bool wait_until_none(base::Time until) = 0;
};

/// Whether bind_http_server() could bind now; leaves the port free. Errors: as there.
Status check_address(const HttpServerOptions& options);

/// Binds to host and port. `service` and `clock` must outlive the server.
/// Errors: kUnavailable (port taken), kPermissionDenied (a privileged port), kInvalidArgument (host is not an IP
/// address).
Result<std::unique_ptr<HttpServer>> bind_http_server(const HttpServerOptions& options, HttpService& service,
                                                     const base::Clock& clock);

}  // namespace autoglm::net

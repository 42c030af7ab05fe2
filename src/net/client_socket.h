// SPDX-License-Identifier: Apache-2.0
// One outgoing TCP connection, plain or TLS, with time limits and a way to give up. Certificates and host names are
// always verified. Blocks its thread; one thread at a time.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/address.h"
#include "net/url.h"

namespace autoglm::net {

/// The addresses of a host, in the order in which they are tried. Errors: kUnavailable.
using Resolve = std::function<Result<std::vector<IpAddress>>(const std::string& host)>;

struct SocketOptions {
  std::chrono::milliseconds connect_timeout{15'000};  // for each address, and for the TLS handshake
  std::chrono::milliseconds idle_timeout{30'000};     // longest silence within a read or write
  std::string ca_file;                                // PEM bundle to trust; empty = the system's
  std::function<bool()> is_cancelled;                 // asked several times a second; may be empty
  Resolve resolve;                                    // asked once a connection; empty = the system
  // Asked for each address before it is connected to, which is then that one: a name cannot mean one thing when it is
  // checked and another when it is used. May be empty.
  std::function<Status(const IpAddress&)> admits;
};

class ClientSocket final {
 public:
  /// Errors: kUnavailable (no such host, refused, timeout), kPermissionDenied (a certificate that does not hold),
  /// kCancelled, and what `admits` says when it admits no address.
  static Result<ClientSocket> connect(const Url& url, const SocketOptions& options);
  ClientSocket(ClientSocket&&) noexcept;
  ClientSocket& operator=(ClientSocket&&) noexcept;
  ~ClientSocket();

  Status write(std::string_view bytes);
  /// Bytes read; 0 = the peer closed. Errors: kUnavailable (reset, timeout), kCancelled.
  Result<std::size_t> read(std::span<char> into);

 private:
  struct Connection;
  explicit ClientSocket(std::unique_ptr<Connection> connection);
  std::unique_ptr<Connection> connection_;
};

}  // namespace autoglm::net

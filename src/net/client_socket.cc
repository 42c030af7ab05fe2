// SPDX-License-Identifier: Apache-2.0
#include "net/client_socket.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace autoglm::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kCancelPoll{100};

struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

// Waits until `fd` is ready for `events`, in slices so that a cancel is noticed.
Status wait_for(int fd, short events, milliseconds limit, const SocketOptions& options, std::string_view what) {
  const auto until = steady_clock::now() + limit;
  for (;;) {
    if (options.is_cancelled && options.is_cancelled()) return fail(Code::kCancelled, "the transfer was stopped");
    const auto left = std::chrono::duration_cast<milliseconds>(until - steady_clock::now());
    if (left.count() <= 0) {
      return fail(Code::kUnavailable, fmt::format("{}: nothing happened for {} ms", what, limit.count()));
    }
    pollfd entry{.fd = fd, .events = events, .revents = 0};
    const int ready = poll(&entry, 1, static_cast<int>(std::min(left, kCancelPoll).count()));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) {
      return fail(Code::kUnavailable, fmt::format("{}: {}", what, std::strerror(errno)));
    }
  }
}

Result<int> connect_address(const IpAddress& address, const Url& url, const SocketOptions& options) {
  const sockaddr_storage place = socket_address(address, url.port);
  const int fd = socket(place.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(Code::kUnavailable, fmt::format("no socket: {}", std::strerror(errno)));
  const std::string where = authority(url);
  const socklen_t size = place.ss_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  Status connected;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&place), size) != 0) {
    if (errno == EINPROGRESS) {
      connected = wait_for(fd, POLLOUT, options.connect_timeout, options, fmt::format("connecting to {}", where));
      int error = 0;
      socklen_t error_size = sizeof error;
      if (connected) getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size);
      errno = error;
    }
    if (connected && errno != 0) {
      connected = fail(Code::kUnavailable, fmt::format("cannot connect to {}: {}", where, std::strerror(errno)));
    }
  }
  if (!connected) {
    close(fd);
    return std::unexpected(connected.error());
  }
  const int yes = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return fd;
}

Result<std::vector<IpAddress>> ask_system(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = parse_address(host) ? AI_NUMERICHOST : AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found); error != 0) {
    return fail(Code::kUnavailable, fmt::format("cannot find the host {}: {}", host, gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, SslFree> list(found);
  std::vector<IpAddress> addresses;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    if (const auto address = address_of(*entry->ai_addr)) addresses.push_back(*address);
  }
  return addresses;
}

Result<int> connect_host(const Url& url, const SocketOptions& options) {
  const std::vector<IpAddress> addresses = TRY(options.resolve ? options.resolve(url.host) : ask_system(url.host));
  Result<int> last = fail(Code::kUnavailable, fmt::format("the host {} has no address", url.host));
  for (const IpAddress& address : addresses) {
    if (const Status admitted = options.admits ? options.admits(address) : Status(); !admitted) {
      last = std::unexpected(admitted.error());
      continue;
    }
    last = connect_address(address, url, options);
    if (last || last.error().code == Code::kCancelled) return last;
  }
  return last;
}

std::string tls_reason() {
  char text[256] = "unknown reason";
  if (const auto code = ERR_get_error(); code != 0) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return text;
}

Result<SSL_CTX*> make_context(const SocketOptions& options) {
  std::unique_ptr<SSL_CTX, SslFree> context(SSL_CTX_new(TLS_client_method()));
  if (!context) return fail(Code::kInternal, "TLS cannot start: " + tls_reason());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  // A close without close_notify is judged by the HTTP framing, which tells whether bytes are missing.
  SSL_CTX_set_options(context.get(), SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  const bool has_roots = options.ca_file.empty()
                             ? SSL_CTX_set_default_verify_paths(context.get()) == 1
                             : SSL_CTX_load_verify_locations(context.get(), options.ca_file.c_str(), nullptr) == 1;
  if (!has_roots) return fail(Code::kUnavailable, "the trusted certificates cannot be read: " + tls_reason());
  return context.release();
}

}  // namespace

struct ClientSocket::Connection {
  int fd = -1;
  SocketOptions options;
  std::string where;
  std::unique_ptr<SSL_CTX, SslFree> context;
  std::unique_ptr<SSL, SslFree> tls;

  ~Connection() {
    tls.reset();
    if (fd >= 0) close(fd);
  }

  // Waits for what a TLS call wants; an error for all else. `code` is of SSL_get_error.
  Status wait_tls(int code, milliseconds limit) {
    if (code == SSL_ERROR_WANT_READ) return wait_for(fd, POLLIN, limit, options, where);
    if (code == SSL_ERROR_WANT_WRITE) return wait_for(fd, POLLOUT, limit, options, where);
    return fail(Code::kUnavailable, fmt::format("the connection to {} broke: {}", where, tls_reason()));
  }

  Status start_tls(const Url& url) {
    context.reset(TRY(make_context(options)));
    tls.reset(SSL_new(context.get()));
    if (!tls || SSL_set_fd(tls.get(), fd) != 1) return fail(Code::kInternal, "TLS cannot start: " + tls_reason());
    X509_VERIFY_PARAM* verify = SSL_get0_param(tls.get());
    const bool is_address = X509_VERIFY_PARAM_set1_ip_asc(verify, url.host.c_str()) == 1;
    if (!is_address) {
      ERR_clear_error();
      X509_VERIFY_PARAM_set_hostflags(verify, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
      if (SSL_set1_host(tls.get(), url.host.c_str()) != 1 ||
          SSL_set_tlsext_host_name(tls.get(), url.host.c_str()) != 1) {
        return fail(Code::kInternal, "TLS cannot start: " + tls_reason());
      }
    }
    for (;;) {
      ERR_clear_error();
      const int done = SSL_connect(tls.get());
      if (done == 1) return {};
      const int code = SSL_get_error(tls.get(), done);
      const long verdict = SSL_get_verify_result(tls.get());
      if (verdict != X509_V_OK) {
        return fail(Code::kPermissionDenied, fmt::format("the certificate of {} does not hold: {}", where,
                                                         X509_verify_cert_error_string(verdict)));
      }
      TRY(wait_tls(code, options.connect_timeout));
    }
  }
};

ClientSocket::ClientSocket(std::unique_ptr<Connection> connection) : connection_(std::move(connection)) {}
ClientSocket::ClientSocket(ClientSocket&&) noexcept = default;
ClientSocket& ClientSocket::operator=(ClientSocket&&) noexcept = default;
ClientSocket::~ClientSocket() = default;

Result<ClientSocket> ClientSocket::connect(const Url& url, const SocketOptions& options) {
  auto connection = std::make_unique<Connection>();
  connection->options = options;
  connection->where = authority(url);
  connection->fd = TRY(connect_host(url, options));
  if (url.is_tls) TRY(connection->start_tls(url));
  return ClientSocket(std::move(connection));
}

Status ClientSocket::write(std::string_view bytes) {
  Connection& c = *connection_;
  while (!bytes.empty()) {
    if (c.tls) {
      ERR_clear_error();
      const int sent =
          SSL_write(c.tls.get(), bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), 1 << 20)));
      if (sent > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(sent));
      } else {
        TRY(c.wait_tls(SSL_get_error(c.tls.get(), sent), c.options.idle_timeout));
      }
      continue;
    }
    const ssize_t sent = send(c.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EINTR) {
      TRY(wait_for(c.fd, POLLOUT, c.options.idle_timeout, c.options, c.where));
    } else {
      return fail(Code::kUnavailable, fmt::format("the connection to {} broke: {}", c.where, std::strerror(errno)));
    }
  }
  return {};
}

Result<std::size_t> ClientSocket::read(std::span<char> into) {
  Connection& c = *connection_;
  for (;;) {
    if (c.options.is_cancelled && c.options.is_cancelled()) return fail(Code::kCancelled, "the transfer was stopped");
    if (c.tls) {
      ERR_clear_error();
      const int got = SSL_read(c.tls.get(), into.data(), static_cast<int>(std::min<std::size_t>(into.size(), 1 << 20)));
      if (got > 0) return static_cast<std::size_t>(got);
      const int code = SSL_get_error(c.tls.get(), got);
      if (code == SSL_ERROR_ZERO_RETURN) return 0;
      TRY(c.wait_tls(code, c.options.idle_timeout));
      continue;
    }
    const ssize_t got = recv(c.fd, into.data(), into.size(), 0);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EAGAIN && errno != EINTR) {
      return fail(Code::kUnavailable, fmt::format("the connection to {} broke: {}", c.where, std::strerror(errno)));
    }
    TRY(wait_for(c.fd, POLLIN, c.options.idle_timeout, c.options, c.where));
  }
}

}  // namespace autoglm::net

// SPDX-License-Identifier: Apache-2.0
// A blocking TCP client for tests: sends bytes exactly as they are given, and reads what comes back. Tests only.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include "net/http_message.h"

namespace autoglm::net {

struct RawResponse {
  int status = 0;  // 0 = the connection ended without a response
  std::string head;
  std::string body;  // decoded when chunked
  bool is_complete = false;

  /// The value of a field by lower-case name, or empty.
  std::string field(std::string_view name) const {
    const std::string lower = lower_ascii(head);
    const auto at = lower.find("\r\n" + std::string(name) + ":");
    if (at == std::string::npos) return {};
    const auto begin = head.find_first_not_of(' ', at + name.size() + 3);
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

class TestClient final {
 public:
  explicit TestClient(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval patience{.tv_sec = 60,
                           .tv_usec = 0};  // far beyond what any test needs: a hang fails, it does not hang the suite
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~TestClient() { close(); }
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  /// False when the server has closed.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  void half_close() { ::shutdown(socket_, SHUT_WR); }
  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }
  /// Closes with a reset instead of an orderly end.
  void abort() {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
  }

  /// Reads until `mark` has come; false when the connection ended before. What came is in received().
  bool read_until(std::string_view mark) {
    while (inbox_.find(mark) == std::string::npos) {
      if (!read_some()) return false;
    }
    return true;
  }
  /// True when the server closes without another byte.
  bool is_closed_by_server() { return inbox_.empty() && !read_some(); }
  const std::string& received() const { return inbox_; }

  RawResponse read_response(bool is_head_request = false) {
    RawResponse response;
    if (!read_until("\r\n\r\n")) return response;
    const auto end = inbox_.find("\r\n\r\n") + 4;
    response.head = inbox_.substr(0, end);
    inbox_.erase(0, end);
    response.status = std::atoi(response.head.substr(9, 3).c_str());
    if (is_head_request || response.status == 204 || response.status == 100) {
      response.is_complete = true;
    } else if (response.field("transfer-encoding") == "chunked") {
      response.is_complete = read_chunks(response.body);
    } else if (const std::string length = response.field("content-length"); !length.empty()) {
      response.is_complete = read_exactly(std::strtoul(length.c_str(), nullptr, 10), response.body);
    } else {
      while (read_some()) {
      }
      response.body = std::exchange(inbox_, {});
      response.is_complete = true;
    }
    return response;
  }

 private:
  bool read_some() {
    char bytes[16384];
    const ssize_t n = ::recv(socket_, bytes, sizeof bytes, 0);
    if (n <= 0) return false;
    inbox_.append(bytes, static_cast<std::size_t>(n));
    return true;
  }
  bool read_exactly(std::size_t size, std::string& out) {
    while (inbox_.size() < size) {
      if (!read_some()) return false;
    }
    out.append(inbox_, 0, size);
    inbox_.erase(0, size);
    return true;
  }
  bool read_chunks(std::string& out) {
    while (read_until("\r\n")) {
      const std::size_t size = std::strtoul(inbox_.c_str(), nullptr, 16);
      inbox_.erase(0, inbox_.find("\r\n") + 2);
      std::string line_end;
      if (!read_exactly(size, out) || !read_exactly(2, line_end)) return false;
      if (size == 0) return true;
    }
    return false;
  }

  int socket_;
  std::string inbox_;
};

/// Sends `bytes` on a connection of its own and reads one response.
inline RawResponse exchange_bytes(std::uint16_t port, std::string_view bytes) {
  TestClient client(port);
  client.send(bytes);
  return client.read_response();
}

}  // namespace autoglm::net

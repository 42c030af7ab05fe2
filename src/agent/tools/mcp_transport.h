// SPDX-License-Identifier: Apache-2.0
// How the messages of MCP get to a server and back: the one thing in which its two transports differ. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "agent/tools/mcp_message.h"
#include "base/clock.h"

namespace autoglm::agent {

class McpTransport {
 public:
  virtual ~McpTransport() = default;  // ends the connection as the protocol asks for

  /// Sends the request `message`, whose id is `id`, and waits for its answer.
  ///   Errors   kUnavailable (the server is away, or has ended), kCancelled (`stop`), kDeadline (`until`), kNotFound
  ///            (the server knows the session no more: begin anew), kPermissionDenied (it wants a key), kCorrupt,
  ///            kExhausted
  virtual Result<McpMessage> request(std::int64_t id, const std::string& message, std::stop_token stop,
                                     base::Time until) = 0;

  /// Sends a notification or an answer; returns within a few seconds. Errors: as request().
  virtual Status send(const std::string& message) = 0;

  /// From the server's answer to `initialize` on: the version that both speak.
  virtual void set_protocol_version(const std::string& version) = 0;
};

/// What the server says that is no answer: its own requests and notifications. Called on a thread of the transport or
/// on one that waits in request(); may call send().
using McpListener = std::function<void(const McpMessage& message)>;
using McpConnect = std::function<Result<std::unique_ptr<McpTransport>>(McpListener listener)>;

}  // namespace autoglm::agent

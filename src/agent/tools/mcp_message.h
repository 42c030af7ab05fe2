// SPDX-License-Identifier: Apache-2.0
// The messages of MCP: JSON-RPC 2.0 as the protocol uses it. What a server sends is untrusted: bounded in size, depth
// and parts before anything is made of it. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace autoglm::agent {

inline constexpr std::size_t kMaxMcpMessageBytes = 8u << 20;

struct McpMessage {
  enum class Kind : std::uint8_t { kResult, kError, kRequest, kNotification };
  Kind kind = Kind::kNotification;
  json::Value id;        // a number or a string; null for a notification
  std::string method;    // of a request or notification
  json::Object content;  // params of a request or notification, or the result
  std::int64_t error_code = 0;
  std::string error_text;  // printable, clipped
};

/// One message, or the list of them that protocol version 2025-03-26 allows.
///   Errors   kCorrupt (not JSON, not JSON-RPC), kExhausted (too large, too deep)
Result<std::vector<McpMessage>> parse_mcp(std::string_view text);

std::string mcp_request(std::int64_t id, std::string_view method, const json::Object& params);
std::string mcp_notification(std::string_view method, const json::Object& params);
std::string mcp_answer(const json::Value& id, const json::Object& result);
std::string mcp_refusal(const json::Value& id, std::int64_t code, std::string_view text);

/// Is it the answer to our request `id`?
bool is_answer_to(const McpMessage& message, std::int64_t id);

}  // namespace autoglm::agent

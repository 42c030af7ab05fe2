// SPDX-License-Identifier: Apache-2.0
// An MCP client from the specification (protocol versions 2024-11-05 to 2025-11-25): it initialises, lists tools, calls
// them, cancels, answers pings, and refuses everything else that a server may ask of it. The server is untrusted: what
// it says is bounded and checked. Any thread; calls run side by side.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "agent/tool.h"
#include "agent/tools/mcp_transport.h"

namespace autoglm::agent {

// A tool as the server describes it.
struct McpTool {
  std::string name;
  std::string description;
  json::Object parameters;
  ToolClass tool_class = ToolClass::kExternal;  // from its annotations
  bool is_idempotent = false;                   // as they say
};

class McpClient {
 public:
  virtual ~McpClient() = default;
  /// Connects and initialises within `limit`.
  ///   Errors   kUnavailable, kDeadline, kPermissionDenied, kCorrupt (not MCP, or no version that we speak), kCancelled
  static Result<std::shared_ptr<McpClient>> connect(const McpConnect& connect, std::chrono::milliseconds limit,
                                                    std::stop_token stop);

  /// All pages. Tools without a usable name or schema are left out, which `remarks` then says.
  virtual Result<std::vector<McpTool>> list_tools(std::chrono::milliseconds limit, std::stop_token stop,
                                                  std::vector<std::string>& remarks) = 0;
  /// Errors: as Tool::run().
  virtual Result<ToolOutput> call_tool(const std::string& name, const json::Object& arguments,
                                       std::stop_token stop) = 0;

  virtual const std::string& protocol_version() const = 0;
  virtual const std::string& server_name() const = 0;
  virtual const std::string& instructions() const = 0;  // how the server wants to be used; may be empty
};

/// What the content of a tool's result is to a model: texts, and a note for what is none.
std::string text_of_content(const json::Object& result);

}  // namespace autoglm::agent

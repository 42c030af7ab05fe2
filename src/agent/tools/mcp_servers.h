// SPDX-License-Identifier: Apache-2.0
// The MCP servers of a run: the `mcpServers` JSON that other clients read too, and their tools as ours
// (docs/formats/tools.md). Any thread.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "agent/tool_registry.h"
#include "agent/tools/config_reader.h"
#include "agent/tools/sandbox.h"
#include "net/http_client.h"

namespace autoglm::agent {

struct McpServerConfig {
  std::string label;  // [A-Za-z0-9_-]{1,32}
  // Either a program ...
  std::vector<std::string> command;
  NamedTexts environment;
  std::filesystem::path folder;
  std::optional<SandboxOptions> sandbox;  // none = it runs with the user's rights, as other clients run it
  // ... or a URL.
  std::string url;
  net::HttpFields fields;

  std::string prefix;                                 // of its tools' names: "LABEL_" unless said otherwise
  std::chrono::milliseconds connect_timeout{60'000};  // a package runner may have to fetch it first
  ToolRights rights;                                  // of all its tools
  std::map<std::string, ToolRights> rights_of;        // of single ones, by the server's name for them
  std::vector<std::string> allowed;                   // only these are taken; empty = all
};

/// Servers in the file's order; those that are "disabled" are left out. Keys of other clients that mean nothing here
/// are told in `remarks`.
///   Errors   kInvalidArgument with the place ("mcpServers.files.command") in Error::where, kExhausted
Result<std::vector<McpServerConfig>> parse_mcp_config(std::string_view text, std::string_view file_name,
                                                      const ConfigOptions& options, std::vector<std::string>& remarks);

// What came of connecting.
struct McpServerFacts {
  std::string name;          // as the server calls itself
  std::string version;       // of the protocol
  std::string instructions;  // how it wants to be used; untrusted
  std::size_t tools = 0;     // added
};

/// Connects and adds the server's tools. They stay what they are for the life of `registry`, whatever the server
/// announces later; the connection lives as long as one of them.
///   Errors   as McpClient::connect()
Result<McpServerFacts> add_mcp_server(ToolRegistry& registry, const McpServerConfig& config, std::stop_token stop,
                                      std::vector<std::string>& remarks);

/// `prefix` and `name` as a tool's name that is not taken: other characters become '_', what is too long is cut, a
/// number tells twins apart.
std::string free_tool_name(const ToolRegistry& registry, std::string_view prefix, std::string_view name);

}  // namespace autoglm::agent

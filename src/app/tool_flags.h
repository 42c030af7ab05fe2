// SPDX-License-Identifier: Apache-2.0
// The tools that an operator gives to an agent or to a server's responses: files that name them, and a registry that
// has them. Only what the files name exists. Main thread.
#pragma once

#include <CLI/CLI.hpp>

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/tool_registry.h"
#include "agent/tools/mcp_servers.h"
#include "base/result.h"
#include "generation/generator.h"

namespace autoglm::app {

struct ToolFlags {
  std::string tool_file;
  std::string mcp_file;
  bool has_no_sandbox = false;
};

void add_tool_flags(CLI::App& verb, ToolFlags& flags);

// What the files say.
struct ConfiguredTools {
  std::vector<std::unique_ptr<agent::Tool>> tools;
  std::vector<agent::McpServerConfig> servers;
  std::vector<std::string> remarks;
};

/// Reads and checks the files; nothing is started. Errors: kNotFound, kInvalidArgument, kExhausted.
Result<ConfiguredTools> read_configurations(const ToolFlags& flags);

/// Whether the model can be held to a tool's schema by its grammar.
agent::ToolRegistry::IsCallable callable_by(const generation::ModelCard& card);

/// Starts the servers and adds all tools; remarks go to stderr. Errors: those of the registry and of add_mcp_server().
Status add_configured_tools(agent::ToolRegistry& tools, ConfiguredTools configured, std::stop_token stop);

/// What runs with the user's own rights: tools that are programs by their names, an MCP server once ("mcp:files").
std::vector<std::string> unsandboxed(const agent::ToolRegistry& tools);

}  // namespace autoglm::app

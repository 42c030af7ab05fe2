// SPDX-License-Identifier: Apache-2.0
#include "app/tool_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <utility>

#include "agent/tools/tool_file.h"
#include "base/log.h"
#include "text/tool_format.h"

namespace autoglm::app {
namespace {

constexpr std::size_t kMaxConfigBytes = 1u << 20;

Result<std::string> read_config(const std::string& path, const char* flag) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(Code::kNotFound, fmt::format("{} cannot be read", base::printable(path)), flag);
  std::string text(kMaxConfigBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMaxConfigBytes) {
    return fail(Code::kExhausted, fmt::format("{} is larger than {} bytes", base::printable(path), kMaxConfigBytes),
                flag);
  }
  return text;
}

agent::ConfigOptions config_options(const std::string& path, const ToolFlags& flags) {
  return {.is_sandboxed = !flags.has_no_sandbox, .folder = std::filesystem::absolute(path).parent_path()};
}

}  // namespace

void add_tool_flags(CLI::App& verb, ToolFlags& flags) {
  verb.add_option("--tools", flags.tool_file, "Programs and HTTP endpoints as tools (docs/formats/tools.md)")
      ->type_name("FILE");
  verb.add_option("--mcp-config", flags.mcp_file, "MCP servers, as the mcpServers JSON of other clients")
      ->type_name("FILE");
  verb.add_flag("--no-sandbox", flags.has_no_sandbox, "Run programs without bubblewrap (docs/guides/tools.md)");
}

Result<ConfiguredTools> read_configurations(const ToolFlags& flags) {
  ConfiguredTools configured;
  if (!flags.tool_file.empty()) {
    const std::string text = TRY(read_config(flags.tool_file, "--tools"));
    configured.tools = TRY(agent::parse_tool_file(text, flags.tool_file, config_options(flags.tool_file, flags)));
  }
  if (!flags.mcp_file.empty()) {
    const std::string text = TRY(read_config(flags.mcp_file, "--mcp-config"));
    configured.servers =
        TRY(agent::parse_mcp_config(text, flags.mcp_file, config_options(flags.mcp_file, flags), configured.remarks));
  }
  return configured;
}

agent::ToolRegistry::IsCallable callable_by(const generation::ModelCard& card) {
  return [format = card.tool_format, tokenizer = card.tokenizer](const agent::ToolDescription& tool) -> Status {
    const text::ToolSignature signature{tool.name, tool.parameters};
    text::ToolGrammarOptions options;
    options.format = format;
    options.choice = text::ToolChoice::kRequired;
    auto grammar = text::tool_grammar({&signature, 1}, options, tokenizer);
    if (grammar) return {};
    Error error = std::move(grammar).error();
    constexpr std::string_view kPlace = "/tools/0/function";  // where it stands in a request of one tool
    if (error.where.starts_with(kPlace)) error.where.erase(0, kPlace.size());
    if (!error.where.empty()) error.message += " (at " + error.where + ")";
    return std::unexpected(std::move(error));
  };
}

Status add_configured_tools(agent::ToolRegistry& tools, ConfiguredTools configured, std::stop_token stop) {
  for (auto& tool : configured.tools) {
    const std::string name = tool->description().name;
    if (Status added = tools.add(std::move(tool)); !added) return fail_in("tool " + name, std::move(added).error());
  }
  for (const agent::McpServerConfig& server : configured.servers) {
    TRY(agent::add_mcp_server(tools, server, stop, configured.remarks));
  }
  for (const std::string& remark : configured.remarks) {
    fmt::print(stderr, "note: {}\n", base::printable(remark, 500));
  }
  return {};
}

std::vector<std::string> unsandboxed(const agent::ToolRegistry& tools) {
  std::vector<std::string> names;
  for (const auto& tool : tools.tools()) {
    const agent::ToolDescription& description = tool->description();
    if (description.is_sandboxed) continue;
    const bool is_of_server = description.source.starts_with("mcp:");
    const std::string& name = is_of_server ? description.source : description.name;
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  return names;
}

}  // namespace autoglm::app

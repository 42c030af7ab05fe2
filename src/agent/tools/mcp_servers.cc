// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/mcp_servers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "agent/tools/mcp_client.h"
#include "agent/tools/mcp_http.h"
#include "agent/tools/mcp_stdio.h"
#include "agent/tools/process_tool.h"
#include "base/log.h"
#include "protocol/openai_tools.h"

namespace autoglm::agent {
namespace {

using protocol::FieldReader;

constexpr std::size_t kMaxOfferedNameBytes = 64;
// What a program gets of our environment when it is not sandboxed; secrets of ours are not among it.
constexpr std::array<const char*, 12> kPassedVariables = {"HOME", "LANG",  "LC_ALL",         "LOGNAME",
                                                          "PATH", "SHELL", "TERM",           "TMPDIR",
                                                          "TZ",   "USER",  "XDG_CACHE_HOME", "XDG_CONFIG_HOME"};

class McpServerTool final : public Tool {
 public:
  McpServerTool(ToolDescription description, std::string remote_name, std::shared_ptr<McpClient> client)
      : description_(std::move(description)), remote_name_(std::move(remote_name)), client_(std::move(client)) {}
  const ToolDescription& description() const override { return description_; }
  Result<ToolOutput> run(const json::Object& arguments, std::stop_token stop) override {
    return client_->call_tool(remote_name_, arguments, std::move(stop));
  }

 private:
  const ToolDescription description_;
  const std::string remote_name_;
  const std::shared_ptr<McpClient> client_;
};

// --- configuration ---------------------------------------------------------------------------------------------------

Status read_program(FieldReader& fields, const std::string& command, const ConfigOptions& options,
                    McpServerConfig& config) {
  config.command.push_back(TRY(expanded(fields, "command", command, options)));
  std::ranges::move(TRY(read_expanded(fields, "args", options)), std::back_inserter(config.command));
  config.environment = TRY(read_named_texts(fields, "env", options));
  config.folder = TRY(read_path(fields, "cwd", options)).value_or("");
  const json::Object* sandbox = TRY(fields.object("sandbox"));
  if (sandbox == nullptr) return {};
  FieldReader inner(*sandbox, fields.name_of("sandbox"));
  SandboxOptions made;
  made.is_on = options.is_sandboxed;
  made.readable = TRY(read_paths(inner, "readable", options));
  made.writable = TRY(read_paths(inner, "writable", options));
  made.has_network = TRY(inner.boolean("network")).value_or(false);
  made.folder = config.folder;
  TRY(inner.refuse_rest());
  if (made.is_on) config.sandbox = std::move(made);
  return {};
}

Status read_rights_of(FieldReader& fields, McpServerConfig& config) {
  config.rights = TRY(read_rights(fields));
  config.allowed = TRY(read_texts(fields, "allowed"));
  const json::Object* single = TRY(fields.object("tools"));
  if (single == nullptr) return {};
  for (const auto& field : *single) {
    const std::string place = fields.name_of("tools") + "." + std::string(field.key());
    if (!field.value().is_object()) return fail(Code::kInvalidArgument, place + " must be an object", place);
    FieldReader inner(field.value().get_object(), place);
    config.rights_of[std::string(field.key())] = TRY(read_rights(inner));
    TRY(inner.refuse_rest());
  }
  return {};
}

Result<std::optional<McpServerConfig>> read_server(FieldReader& fields, const std::string& label,
                                                   const ConfigOptions& options) {
  McpServerConfig config;
  config.label = label;
  if (!protocol::is_tool_name(label) || label.size() > 32)
    return fields.wrong("", "named by 1 to 32 letters, digits, '_' and '-'");
  if (TRY(fields.boolean("disabled")).value_or(false)) return std::nullopt;
  const std::string type = TRY(fields.string("type", 64)).value_or("");
  const auto command = TRY(fields.string("command", 4096));
  const auto url = TRY(fields.string("url", 8u << 10));
  if (command.has_value() == url.has_value()) return fields.wrong("command", "given, or else a url; not both");
  const bool fits = command ? type.empty() || type == "stdio"
                            : type.empty() || type == "http" || type == "streamable-http" || type == "streamableHttp";
  if (!fits)
    return fields.wrong("type", "\"stdio\" with a command, \"http\" with a url; \"sse\" of 2024 is not supported");
  if (command) TRY(read_program(fields, *command, options, config));
  if (url) {
    config.url = TRY(expanded(fields, "url", *url, options));
    if (const auto parsed = net::parse_url(config.url); !parsed)
      return fail(Code::kInvalidArgument,
                  fmt::format("{} is {}; it is \"{}\"", fields.name_of("url"), parsed.error().message,
                              base::printable(*url, 200)),
                  fields.name_of("url"));
    for (auto& [name, value] : TRY(read_named_texts(fields, "headers", options))) {
      std::string lower = name;
      std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      config.fields.emplace_back(std::move(lower), std::move(value));
    }
  }
  config.prefix = TRY(fields.string("prefix", 32)).value_or(label + "_");
  if (const auto ms = TRY(fields.integer("connect_timeout_ms", 1, 3'600'000))) {
    config.connect_timeout = std::chrono::milliseconds(*ms);
  }
  TRY(read_rights_of(fields, config));
  return config;
}

Result<std::vector<McpServerConfig>> read_servers(const json::Object& root, const ConfigOptions& options,
                                                  std::vector<std::string>& remarks) {
  FieldReader fields(root, "");
  const json::Object* servers = TRY(fields.object("mcpServers"));
  if (servers == nullptr) return fields.wrong("mcpServers", "an object of servers, which is missing");
  if (servers->size() > 64) return fields.wrong("mcpServers", "at most 64 servers");
  std::vector<McpServerConfig> configs;
  for (const auto& field : *servers) {
    const std::string label(field.key());
    const std::string place = "mcpServers." + label;
    if (!field.value().is_object()) return fail(Code::kInvalidArgument, place + " must be an object", place);
    FieldReader inner(field.value().get_object(), place);
    auto config = TRY(read_server(inner, label, options));
    if (!config) continue;
    if (const Status rest = inner.refuse_rest(); !rest) remarks.push_back(rest.error().message + "; ignored");
    configs.push_back(std::move(*config));
  }
  return configs;
}

// --- connecting ------------------------------------------------------------------------------------------------------

Result<ChildOptions> child_of(const McpServerConfig& config) {
  ChildOptions child;
  if (config.sandbox) {
    child.environment = environment_of(config.environment);
    const ProcessLimits limits{.cpu_seconds = 86'400, .memory_bytes = 0, .open_files = 1024, .processes = 256};
    std::string path;
    for (const std::string& entry : child.environment) {
      if (entry.starts_with("PATH=")) path = entry.substr(5);
    }
    child.arguments = TRY(sandboxed(config.command, path, *config.sandbox, limits));
    return child;
  }
  std::map<std::string, std::string> all;
  for (const char* name : kPassedVariables) {
    if (const auto value = environment_variable(name)) all[name] = *value;
  }
  for (const auto& [name, value] : config.environment) all[name] = value;
  for (const auto& [name, value] : all) child.environment.push_back(name + "=" + value);
  child.arguments = config.command;
  child.folder = config.folder;
  return child;
}

Result<std::shared_ptr<McpClient>> connect_to(const McpServerConfig& config, std::stop_token stop) {
  McpConnect connect;
  if (config.url.empty()) {
    ChildOptions child = TRY(child_of(config));
    connect = [child](McpListener listener) { return connect_mcp_stdio(child, std::move(listener)); };
  } else {
    const McpHttpOptions options{.url = config.url, .fields = config.fields, .ca_file = ""};
    connect = [options](McpListener listener) { return connect_mcp_http(options, std::move(listener)); };
  }
  return McpClient::connect(connect, config.connect_timeout, std::move(stop));
}

}  // namespace

std::string free_tool_name(const ToolRegistry& registry, std::string_view prefix, std::string_view name) {
  std::string plain = std::string(prefix) + std::string(name);
  for (char& c : plain) {
    if (!protocol::is_tool_name(std::string_view(&c, 1))) c = '_';
  }
  std::string candidate = plain.substr(0, kMaxOfferedNameBytes);
  for (std::size_t i = 2; candidate.empty() || registry.find(candidate) != nullptr; ++i) {
    const std::string suffix = "_" + std::to_string(i);
    candidate = plain.substr(0, kMaxOfferedNameBytes - suffix.size()) + suffix;
  }
  return candidate;
}

Result<std::vector<McpServerConfig>> parse_mcp_config(std::string_view text, std::string_view file_name,
                                                      const ConfigOptions& options, std::vector<std::string>& remarks) {
  auto configs = read_servers(TRY(parse_config(text, file_name)), options, remarks);
  if (!configs) return fail_in(base::printable(file_name), std::move(configs).error());
  return configs;
}

Result<McpServerFacts> add_mcp_server(ToolRegistry& registry, const McpServerConfig& config, std::stop_token stop,
                                      std::vector<std::string>& remarks) {
  auto client = connect_to(config, stop);
  if (!client) return fail_in("the MCP server " + config.label, std::move(client).error());
  McpServerFacts facts{.name = (*client)->server_name(),
                       .version = (*client)->protocol_version(),
                       .instructions = (*client)->instructions()};
  std::vector<std::string> own_remarks;
  auto tools = (*client)->list_tools(config.connect_timeout, std::move(stop), own_remarks);
  if (!tools) return fail_in("the MCP server " + config.label, std::move(tools).error());
  for (McpTool& tool : *tools) {
    if (!config.allowed.empty() && std::ranges::find(config.allowed, tool.name) == config.allowed.end()) continue;
    ToolDescription description;
    description.name = free_tool_name(registry, config.prefix, tool.name);
    description.description = std::move(tool.description);
    description.parameters = std::move(tool.parameters);
    description.source = "mcp:" + config.label;
    description.source_name = tool.name;
    description.tool_class = tool.tool_class;
    description.approval = default_approval(tool.tool_class);
    description.is_idempotent = tool.is_idempotent;
    description.is_sandboxed = config.sandbox.has_value() || !config.url.empty();
    config.rights.apply_to(description);
    if (const auto own = config.rights_of.find(tool.name); own != config.rights_of.end())
      own->second.apply_to(description);
    const Status added = registry.add(std::make_unique<McpServerTool>(std::move(description), tool.name, *client));
    if (added) {
      ++facts.tools;
    } else {
      own_remarks.push_back(
          fmt::format("its tool {} is left out: {}", base::printable(tool.name, 80), added.error().message));
    }
  }
  for (const std::string& remark : own_remarks) remarks.push_back(config.label + ": " + remark);
  return facts;
}

}  // namespace autoglm::agent

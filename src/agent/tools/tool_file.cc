// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/tool_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "agent/tool_registry.h"
#include "agent/tools/http_tool.h"
#include "agent/tools/process_tool.h"
#include "base/log.h"
#include "net/http_message.h"
#include "protocol/openai_tools.h"

namespace autoglm::agent {
namespace {

using protocol::FieldReader;

constexpr std::size_t kMaxFileTools = 256;
constexpr std::size_t kMaxFileDescriptionBytes = 8u << 10;
constexpr std::array<std::string_view, 6> kMethods = {"GET", "HEAD", "DELETE", "POST", "PUT", "PATCH"};

Result<std::string> required(FieldReader& fields, std::string_view name, std::size_t max_bytes) {
  auto text = TRY(fields.string(name, max_bytes));
  if (!text || text->empty()) return fields.wrong(name, "a text, which is missing");
  return std::move(*text);
}

template <typename Number>
Status read_number(FieldReader& fields, std::string_view name, std::int64_t min, std::int64_t max, Number& number) {
  if (const auto given = TRY(fields.integer(name, min, max))) number = static_cast<Number>(*given);
  return {};
}

Result<ToolDescription> read_description(FieldReader& fields, std::string name, ToolClass default_class) {
  ToolDescription tool;
  tool.name = std::move(name);
  tool.description = TRY(required(fields, "description", kMaxFileDescriptionBytes));
  tool.tool_class = default_class;
  tool.approval = default_approval(default_class);
  const json::Object* parameters = TRY(fields.object("parameters"));
  if (parameters != nullptr) tool.parameters = *parameters;
  if (!tool.parameters.contains("type")) tool.parameters["type"] = "object";
  if (!tool.parameters.contains("properties")) tool.parameters["properties"] = json::Object{};
  TRY(read_rights(fields)).apply_to(tool);
  return tool;
}

Status read_limits(FieldReader& fields, ProcessToolConfig& config) {
  constexpr std::int64_t kMany = 1ll << 50;
  TRY(read_number(fields, "cpu_seconds", 1, 86'400, config.limits.cpu_seconds));
  TRY(read_number(fields, "memory_bytes", 0, kMany, config.limits.memory_bytes));
  TRY(read_number(fields, "file_bytes", 0, kMany, config.limits.file_bytes));
  TRY(read_number(fields, "open_files", 8, 1 << 20, config.limits.open_files));
  TRY(read_number(fields, "processes", 1, 1 << 20, config.limits.processes));
  return read_number(fields, "max_output_bytes", 1, 1ll << 30, config.max_output_bytes);
}

Result<std::unique_ptr<Tool>> read_process(FieldReader& fields, std::string name, const ConfigOptions& options) {
  ProcessToolConfig config;
  config.description = TRY(read_description(fields, std::move(name), ToolClass::kWrite));
  config.description.source = "process";
  config.command = TRY(read_expanded(fields, "command", options));
  if (config.command.empty() || config.command[0].empty()) return fields.wrong("command", "a list: program, arguments");
  std::string& program = config.command[0];
  if (program.find('/') != std::string::npos) program = path_from(program, options);
  config.environment = TRY(read_named_texts(fields, "environment", options));
  config.sandbox.is_on = options.is_sandboxed;
  config.sandbox.readable = TRY(read_paths(fields, "readable", options));
  config.sandbox.writable = TRY(read_paths(fields, "writable", options));
  config.sandbox.has_network = TRY(fields.boolean("network")).value_or(false);
  config.sandbox.folder = TRY(read_path(fields, "folder", options)).value_or("");
  if (!options.is_sandboxed && config.sandbox.folder.empty()) config.sandbox.folder = options.folder;
  TRY(read_limits(fields, config));
  TRY(fields.refuse_rest());
  return make_process_tool(std::move(config));
}

// Every placeholder is a parameter; where there is no body, every parameter has a placeholder.
Status check_parameters(const FieldReader& fields, const HttpToolConfig& config) {
  std::set<std::string> properties;
  if (const auto* listed = config.description.parameters.at("properties").if_object()) {
    for (const auto& field : *listed) properties.emplace(field.key());
  }
  for (const std::string& name : config.url.names()) {
    if (!properties.contains(name)) {
      return fields.wrong("url",
                          fmt::format("filled from parameters; there is none named '{}'", base::printable(name, 80)));
    }
    properties.erase(name);
  }
  const bool has_body = config.method == "POST" || config.method == "PUT" || config.method == "PATCH";
  if (has_body || properties.empty()) return {};
  return fields.wrong("url", fmt::format("where {} puts the parameter '{}'; it has no place", config.method,
                                         base::printable(*properties.begin(), 80)));
}

Result<std::unique_ptr<Tool>> read_http(FieldReader& fields, std::string name, const ConfigOptions& options) {
  HttpToolConfig config;
  config.description = TRY(read_description(fields, std::move(name), ToolClass::kExternal));
  config.description.source = "http";
  config.method = TRY(fields.string("method", 16)).value_or("GET");
  if (std::ranges::find(kMethods, config.method) == kMethods.end()) {
    return fields.wrong("method", fmt::format("one of {}", fmt::join(kMethods, ", ")));
  }
  const std::string given = TRY(required(fields, "url", 8u << 10));
  auto url = UrlTemplate::parse(TRY(expanded(fields, "url", given, options)));
  if (!url) return fields.wrong("url", "a URL template: " + url.error().message);
  config.url = std::move(*url);
  for (auto& [header, value] : TRY(read_named_texts(fields, "headers", options))) {
    config.fields.emplace_back(net::lower_ascii(header), std::move(value));
  }
  config.hosts = TRY(read_expanded(fields, "hosts", options));
  for (const std::string& text : TRY(read_expanded(fields, "private_addresses", options))) {
    auto range = net::parse_range(text);
    if (!range) return fields.wrong("private_addresses", "addresses or ranges: " + range.error().message);
    config.private_addresses.push_back(*range);
  }
  TRY(read_number(fields, "max_response_bytes", 1, 1ll << 30, config.max_response_bytes));
  config.ca_file = TRY(read_path(fields, "ca_file", options)).value_or("");
  TRY(fields.refuse_rest());
  TRY(check_parameters(fields, config));
  return make_http_tool(std::move(config));
}

Result<std::unique_ptr<Tool>> read_tool(const json::Value& value, const std::string& name,
                                        const ConfigOptions& options) {
  const std::string place = "tools." + name;
  if (!protocol::is_tool_name(name)) {
    return fail(
        Code::kInvalidArgument,
        fmt::format("'{}' is not a tool's name: 1 to 64 letters, digits, '_' and '-'", base::printable(name, 80)),
        place);
  }
  if (!value.is_object()) return fail(Code::kInvalidArgument, place + " must be a table", place);
  FieldReader fields(value.get_object(), place);
  const auto kind = TRY(fields.string("kind", 64));
  if (kind == "process") return read_process(fields, name, options);
  if (kind == "http") return read_http(fields, name, options);
  return fields.wrong("kind", "\"process\" or \"http\"");
}

Result<std::vector<std::unique_ptr<Tool>>> read_tools(const json::Object& root, const ConfigOptions& options) {
  FieldReader fields(root, "");
  const json::Object* listed = TRY(fields.object("tools"));
  TRY(fields.refuse_rest());
  std::vector<std::unique_ptr<Tool>> tools;
  if (listed == nullptr) return fields.wrong("tools", "a table of tools, which is missing");
  if (listed->size() > kMaxFileTools) return fields.wrong("tools", fmt::format("at most {} tools", kMaxFileTools));
  for (const auto& field : *listed) {
    const std::string name(field.key());
    auto tool = read_tool(field.value(), name, options);
    if (!tool) {
      Error error = std::move(tool).error();
      if (error.where.empty()) error.where = "tools." + name;
      return fail_in(fmt::format("tool {}", base::printable(name, 80)), std::move(error));
    }
    tools.push_back(std::move(*tool));
  }
  return tools;
}

}  // namespace

Result<std::vector<std::unique_ptr<Tool>>> parse_tool_file(std::string_view text, std::string_view file_name,
                                                           const ConfigOptions& options) {
  auto tools = read_tools(TRY(parse_config(text, file_name)), options);
  if (!tools) return fail_in(base::printable(file_name), std::move(tools).error());
  const auto is_program = [](const auto& tool) { return tool->description().source == "process"; };
  if (options.is_sandboxed && std::ranges::any_of(*tools, is_program)) TRY(check_sandbox());
  return tools;
}

}  // namespace autoglm::agent

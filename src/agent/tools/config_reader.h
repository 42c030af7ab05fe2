// SPDX-License-Identifier: Apache-2.0
// What the configurations of tools and of MCP servers have in common: lists and maps of texts, paths, classes,
// approvals. Any thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/tool.h"
#include "agent/tools/expand.h"
#include "protocol/field_reader.h"

namespace autoglm::agent {

struct ConfigOptions {
  bool is_sandboxed = true;      // false = --no-sandbox
  std::filesystem::path folder;  // of the file: where its relative paths begin
  Variables variables = environment_variable;
};

// The rights and bounds of a tool; what is not said stays as it is.
struct ToolRights {
  std::optional<ToolClass> tool_class;
  std::optional<Approval> approval;
  std::optional<std::chrono::milliseconds> timeout;
  std::optional<std::size_t> retries;
  std::optional<std::size_t> max_concurrency;
  void apply_to(ToolDescription& tool) const;
};

// Each fails with kInvalidArgument and the field's name in Error::where.
Result<ToolRights> read_rights(protocol::FieldReader& fields);
Result<std::vector<std::string>> read_texts(protocol::FieldReader& fields, std::string_view name);

// From here on, what is read is expanded (expand.h).
Result<std::string> expanded(const protocol::FieldReader& fields, std::string_view name, std::string_view text,
                             const ConfigOptions& options);
Result<std::vector<std::string>> read_expanded(protocol::FieldReader& fields, std::string_view name,
                                               const ConfigOptions& options);
using NamedTexts = std::vector<std::pair<std::string, std::string>>;
Result<NamedTexts> read_named_texts(protocol::FieldReader& fields, std::string_view name, const ConfigOptions& options);
/// Paths are relative to the file's folder; "~/" is the user's home.
std::filesystem::path path_from(const std::string& text, const ConfigOptions& options);
Result<std::optional<std::filesystem::path>> read_path(protocol::FieldReader& fields, std::string_view name,
                                                       const ConfigOptions& options);
Result<std::vector<std::filesystem::path>> read_paths(protocol::FieldReader& fields, std::string_view name,
                                                      const ConfigOptions& options);

/// A file's text as an object: JSON where its name ends in ".json", else TOML.
Result<json::Object> parse_config(std::string_view text, std::string_view file_name);

}  // namespace autoglm::agent

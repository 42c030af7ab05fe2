// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/config_reader.h"

#include <fmt/format.h>

#include "base/config.h"

namespace autoglm::agent {
namespace {

constexpr std::size_t kMaxTexts = 256;
constexpr std::size_t kMaxTextBytes = 32u << 10;
constexpr std::size_t kMaxConfigBytes = 1u << 20;

using protocol::FieldReader;

template <typename Parse>
auto read_choice(FieldReader& fields, std::string_view name, Parse parse, const char* choices)
    -> Result<decltype(parse(std::string_view()))> {
  const auto text = TRY(fields.string(name, 64));
  if (!text) return std::nullopt;
  auto value = parse(*text);
  if (!value) return fields.wrong(name, choices);
  return value;
}

}  // namespace

void ToolRights::apply_to(ToolDescription& tool) const {
  if (tool_class) {
    tool.tool_class = *tool_class;
    tool.approval = default_approval(*tool_class);
  }
  if (approval) tool.approval = *approval;
  if (timeout) tool.timeout = *timeout;
  if (retries) tool.retries = *retries;
  if (max_concurrency) tool.max_concurrency = *max_concurrency;
}

Result<ToolRights> read_rights(FieldReader& fields) {
  ToolRights rights;
  rights.tool_class = TRY(read_choice(fields, "class", parse_class, "\"read\", \"write\" or \"external\""));
  rights.approval = TRY(read_choice(fields, "approval", parse_approval, "\"never\", \"ask\" or \"always\""));
  if (const auto ms = TRY(fields.integer("timeout_ms", 1, 86'400'000))) rights.timeout = std::chrono::milliseconds(*ms);
  if (const auto count = TRY(fields.integer("retries", 0, 10))) rights.retries = static_cast<std::size_t>(*count);
  if (const auto count = TRY(fields.integer("max_concurrency", 1, 64))) {
    rights.max_concurrency = static_cast<std::size_t>(*count);
  }
  return rights;
}

Result<std::vector<std::string>> read_texts(FieldReader& fields, std::string_view name) {
  std::vector<std::string> texts;
  const json::Array* list = TRY(fields.array(name, kMaxTexts));
  if (list == nullptr) return texts;
  for (const json::Value& item : *list) {
    const auto* text = item.if_string();
    const bool is_usable = text != nullptr && text->size() <= kMaxTextBytes && text->find('\0') == json::String::npos;
    if (!is_usable) return fields.wrong(name, "a list of texts");
    texts.emplace_back(text->data(), text->size());
  }
  return texts;
}

Result<std::string> expanded(const FieldReader& fields, std::string_view name, std::string_view text,
                             const ConfigOptions& options) {
  auto value = expand(text, options.variables);
  if (!value) return fields.wrong(name, "complete: " + value.error().message);
  return std::move(*value);
}

Result<std::vector<std::string>> read_expanded(FieldReader& fields, std::string_view name,
                                               const ConfigOptions& options) {
  auto texts = TRY(read_texts(fields, name));
  for (std::string& text : texts) text = TRY(expanded(fields, name, text, options));
  return texts;
}

Result<NamedTexts> read_named_texts(FieldReader& fields, std::string_view name, const ConfigOptions& options) {
  NamedTexts texts;
  const json::Object* map = TRY(fields.object(name));
  if (map == nullptr) return texts;
  if (map->size() > kMaxTexts) return fields.wrong(name, fmt::format("at most {} entries", kMaxTexts));
  for (const auto& field : *map) {
    const auto* text = field.value().if_string();
    const bool is_usable = text != nullptr && text->size() <= kMaxTextBytes && text->find('\0') == json::String::npos;
    if (!is_usable || field.key().empty()) return fields.wrong(name, "names with texts");
    const std::string place = fmt::format("{}.{}", name, std::string_view(field.key()));
    texts.emplace_back(std::string(field.key()), TRY(expanded(fields, place, {text->data(), text->size()}, options)));
  }
  return texts;
}

std::filesystem::path path_from(const std::string& text, const ConfigOptions& options) {
  const auto home = text.starts_with("~/") ? options.variables("HOME") : std::nullopt;
  if (home) return std::filesystem::path(*home) / text.substr(2);
  return options.folder / text;  // an absolute path replaces the folder
}

Result<std::optional<std::filesystem::path>> read_path(FieldReader& fields, std::string_view name,
                                                       const ConfigOptions& options) {
  const auto text = TRY(fields.string(name, 4096));
  if (!text) return std::nullopt;
  return path_from(TRY(expanded(fields, name, *text, options)), options);
}

Result<std::vector<std::filesystem::path>> read_paths(FieldReader& fields, std::string_view name,
                                                      const ConfigOptions& options) {
  std::vector<std::filesystem::path> paths;
  for (const std::string& text : TRY(read_expanded(fields, name, options))) {
    if (text.empty()) return fields.wrong(name, "a list of folders");
    paths.push_back(path_from(text, options));
  }
  return paths;
}

Result<json::Object> parse_config(std::string_view text, std::string_view file_name) {
  if (!file_name.ends_with(".json")) return base::parse_toml(text, file_name);
  base::Budget budget({.bytes = kMaxConfigBytes, .steps = 100'000, .depth = 64});
  auto value = json::parse(text, budget);
  if (!value) return fail_in(file_name, std::move(value).error());
  if (!value->is_object()) return fail(Code::kInvalidArgument, fmt::format("{} is no JSON object", file_name));
  return std::move(value->get_object());
}

}  // namespace autoglm::agent

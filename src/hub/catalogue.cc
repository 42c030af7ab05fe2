// SPDX-License-Identifier: Apache-2.0
#include "hub/catalogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "base/config.h"
#include "base/json.h"
#include "hub/checksum.h"
#include "hub/model_name.h"

namespace autoglm::hub {
namespace {

std::unexpected<Error> bad(const std::string& where, std::string_view why) {
  return fail(Code::kInvalidArgument, fmt::format("{}: {}", where, why));
}

Result<std::string> text_of(const json::Object& object, std::string_view key, const std::string& where) {
  const auto* value = object.if_contains(key);
  if (value == nullptr || !value->is_string()) return bad(where, fmt::format("'{}' must be a string", key));
  return std::string(value->as_string());
}

Result<std::uint64_t> bytes_of(const json::Object& object, const std::string& where) {
  const auto* value = object.if_contains("bytes");
  if (value == nullptr || !value->is_int64() || value->as_int64() <= 0) {
    return bad(where, "'bytes' must be a positive whole number");
  }
  return static_cast<std::uint64_t>(value->as_int64());
}

Result<const json::Array*> tables_of(const json::Object& object, std::string_view key, const std::string& where) {
  const auto* value = object.if_contains(key);
  const bool is_list = value != nullptr && value->is_array() && !value->as_array().empty() &&
                       std::ranges::all_of(value->as_array(), [](const auto& item) { return item.is_object(); });
  if (!is_list) return bad(where, fmt::format("'{}' must be a list of at least one table", key));
  return &value->as_array();
}

Status only_keys(const json::Object& object, std::initializer_list<std::string_view> known, const std::string& where) {
  for (const auto& item : object) {
    const std::string_view key(item.key().data(), item.key().size());
    if (std::ranges::find(known, key) == known.end()) return bad(where, fmt::format("unknown key '{}'", key));
  }
  return {};
}

Result<WheelPart> part_of(const json::Object& object, const std::string& where) {
  TRY(only_keys(object, {"package", "member", "bytes"}, where));
  WheelPart part;
  part.package = TRY(text_of(object, "package", where));
  part.member = TRY(text_of(object, "member", where));
  part.bytes = TRY(bytes_of(object, where));
  const auto equals = part.package.find("==");
  // It becomes an argument of pip, which must not take it for a flag, a path or a URL.
  const bool is_exact = equals != std::string::npos && is_valid_name(part.package.substr(0, equals)) &&
                        is_valid_name(part.package.substr(equals + 2));
  if (!is_exact) return bad(where, fmt::format("package '{}' is not name==version", part.package));
  if (!is_safe_path(part.member)) return bad(where, fmt::format("member '{}' is not a plain path", part.member));
  return part;
}

Result<SourceFile> file_of(const json::Object& object, SourceKind kind, const std::string& where) {
  TRY(only_keys(object, {"path", "remote", "bytes", "sha256", "parts"}, where));
  SourceFile file;
  file.path = TRY(text_of(object, "path", where));
  if (!is_safe_path(file.path)) return bad(where, fmt::format("path '{}' is not a plain relative path", file.path));
  file.remote = object.contains("remote") ? TRY(text_of(object, "remote", where)) : file.path;
  if (!is_safe_path(file.remote)) return bad(where, fmt::format("remote '{}' is not a plain path", file.remote));
  file.bytes = TRY(bytes_of(object, where));
  file.sha256 = TRY(text_of(object, "sha256", where));
  if (!is_sha256(file.sha256)) return bad(where, "'sha256' must be 64 lower-case hex digits");
  if (kind == SourceKind::kHub) return file;
  std::uint64_t sum = 0;
  for (const auto& item : *TRY(tables_of(object, "parts", where))) {
    file.parts.push_back(TRY(part_of(item.as_object(), where)));
    sum += file.parts.back().bytes;
  }
  if (sum != file.bytes) return bad(where, fmt::format("the parts hold {} bytes, the file {}", sum, file.bytes));
  return file;
}

Result<Source> source_of(const json::Object& object, const std::string& where) {
  TRY(only_keys(object, {"kind", "repository", "revision", "file"}, where));
  Source source;
  const std::string kind = TRY(text_of(object, "kind", where));
  if (kind != "wheels" && kind != "hub") return bad(where, fmt::format("kind '{}' is neither wheels nor hub", kind));
  source.kind = kind == "hub" ? SourceKind::kHub : SourceKind::kWheels;
  if (source.kind == SourceKind::kHub) {
    source.repository = TRY(text_of(object, "repository", where));
    if (!TRY(parse_hub_reference("hf:" + source.repository))) return bad(where, "'repository' must be ORG/NAME");
    if (object.contains("revision")) source.revision = TRY(text_of(object, "revision", where));
    if (!is_valid_name(source.revision)) return bad(where, "'revision' must be a plain name");
  }
  for (const auto& item : *TRY(tables_of(object, "file", where))) {
    source.files.push_back(TRY(file_of(item.as_object(), source.kind, where)));
  }
  return source;
}

Result<CatalogueEntry> entry_of(const json::Object& object, const std::string& file_name) {
  CatalogueEntry entry;
  entry.name = TRY(text_of(object, "name", file_name + ": a model"));
  const std::string where = file_name + ": model '" + entry.name + "'";
  TRY(only_keys(object, {"name", "aliases", "summary", "licence", "load", "source"}, where));
  if (!is_valid_name(entry.name)) return bad(where, "a name holds letters, digits, '.', '_' and '-', at most 128");
  if (const auto* aliases = object.if_contains("aliases"); aliases != nullptr) {
    if (!aliases->is_array()) return bad(where, "'aliases' must be a list");
    for (const auto& alias : aliases->as_array()) {
      if (!alias.is_string() || !is_valid_name(alias.as_string())) return bad(where, "an alias is not a valid name");
      entry.aliases.emplace_back(alias.as_string());
    }
  }
  entry.summary = TRY(text_of(object, "summary", where));
  entry.licence = TRY(text_of(object, "licence", where));
  entry.load = TRY(text_of(object, "load", where));
  if (entry.load != "." && !is_safe_path(entry.load)) return bad(where, "'load' must be '.' or a plain relative path");
  for (const auto& item : *TRY(tables_of(object, "source", where))) {
    entry.sources.push_back(TRY(source_of(item.as_object(), where)));
    const auto& files = entry.sources.back().files;
    const bool is_there = entry.load == "." || std::ranges::find(files, entry.load, &SourceFile::path) != files.end();
    if (!is_there) return bad(where, fmt::format("a source does not bring '{}', which is to be loaded", entry.load));
  }
  return entry;
}

std::string in_lower_case(std::string_view text) {
  std::string low(text);
  std::ranges::transform(low, low.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return low;
}

bool is_same_name(std::string_view a, std::string_view b) { return a.size() == b.size() && edit_distance(a, b) == 0; }

}  // namespace

std::uint64_t Source::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& file : files) sum += file.bytes;
  return sum;
}

Result<Catalogue> Catalogue::parse(std::string_view toml, std::string_view file_name) {
  const json::Object root = TRY(base::parse_toml(toml, file_name));
  const std::string where(file_name);
  TRY(only_keys(root, {"model"}, where));
  Catalogue catalogue;
  for (const auto& item : *TRY(tables_of(root, "model", where))) {
    CatalogueEntry entry = TRY(entry_of(item.as_object(), where));
    for (const auto& name : entry.aliases) {
      if (catalogue.find(name) != nullptr) return bad(where, fmt::format("'{}' names two models", name));
    }
    if (catalogue.find(entry.name) != nullptr) return bad(where, fmt::format("'{}' names two models", entry.name));
    catalogue.entries_.push_back(std::move(entry));
  }
  return catalogue;
}

Result<Catalogue> Catalogue::load(const std::filesystem::path& home) {
  Catalogue catalogue = TRY(parse(built_in_catalogue(), "the built-in catalogue"));
  const auto path = home / "catalogue.toml";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return catalogue;
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return fail(Code::kPermissionDenied, fmt::format("{} cannot be read", path.string()));
  Catalogue more = TRY(parse(text.str(), path.string()));
  for (auto& entry : more.entries_) {
    std::erase_if(catalogue.entries_, [&](const CatalogueEntry& old) { return is_same_name(old.name, entry.name); });
  }
  // The file's come first, so that its aliases win as well.
  more.entries_.insert(more.entries_.end(), catalogue.entries_.begin(), catalogue.entries_.end());
  return more;
}

const CatalogueEntry* Catalogue::find(std::string_view name) const {
  for (const auto& entry : entries_) {
    if (is_same_name(entry.name, name)) return &entry;
  }
  for (const auto& entry : entries_) {
    if (std::ranges::any_of(entry.aliases, [&](const auto& alias) { return is_same_name(alias, name); })) return &entry;
  }
  return nullptr;
}

std::vector<std::string> Catalogue::near(std::string_view name) const {
  if (name.size() > 128) return {};
  const std::string wanted = in_lower_case(name);
  std::vector<std::pair<std::size_t, std::string>> found;
  const auto consider = [&](const std::string& known) {
    const std::size_t distance = edit_distance(name, known);
    const std::string low = in_lower_case(known);
    const bool is_part =
        name.size() >= 3 && (low.find(wanted) != std::string::npos || wanted.find(low) != std::string::npos);
    if (is_part || distance <= std::max<std::size_t>(2, known.size() / 3))
      found.emplace_back(is_part ? 1 : distance, known);
  };
  for (const auto& entry : entries_) {
    consider(entry.name);
    for (const auto& alias : entry.aliases) consider(alias);
  }
  std::ranges::sort(found);
  std::vector<std::string> names;
  for (auto& [distance, known] : found) {
    if (names.size() < 3) names.push_back(std::move(known));
  }
  return names;
}

}  // namespace autoglm::hub

// SPDX-License-Identifier: Apache-2.0
#include "agent/tool_mapping.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <tuple>
#include <utility>

namespace autoglm::agent {
namespace {

// Words that tools and models use for one another. The first of a group stands for all.
constexpr std::array<std::array<std::string_view, 10>, 14> kSynonyms = {{
    {"write", "create", "save", "make", "put", "store", "new", "add", "set", "touch"},
    {"read", "open", "get", "cat", "show", "view", "load", "fetch", "print", "display"},
    {"move", "rename", "mv"},
    {"delete", "remove", "rm", "unlink", "erase"},
    {"list", "ls", "dir", "enumerate"},
    {"search", "find", "grep", "query", "lookup", "locate"},
    {"edit", "modify", "update", "replace", "change", "patch"},
    {"directory", "folder", "dirs", "directories", "folders"},
    {"file", "files", "document", "doc"},
    {"path", "filename", "filepath", "file", "location", "pathname"},
    {"content", "contents", "text", "data", "body", "string"},
    {"source", "src", "old", "from", "origin", "current"},
    {"destination", "dst", "dest", "target", "to", "new"},
    {"pattern", "query", "regex", "term", "keyword", "needle"},
}};

// Lower-case words of "createFile", "create-file", "fs.create_file".
std::vector<std::string> words_of(std::string_view name) {
  std::vector<std::string> words;
  std::string word;
  const auto flush = [&] {
    if (!word.empty()) words.push_back(std::exchange(word, {}));
  };
  for (std::size_t i = 0; i < name.size(); ++i) {
    const auto c = static_cast<unsigned char>(name[i]);
    if (!std::isalnum(c)) {
      flush();
      continue;
    }
    if (std::isupper(c) && i > 0 && std::islower(static_cast<unsigned char>(name[i - 1]))) flush();
    word.push_back(static_cast<char>(std::tolower(c)));
  }
  flush();
  return words;
}

bool mean_the_same(std::string_view left, std::string_view right) {
  if (left == right) return true;
  return std::ranges::any_of(kSynonyms, [&](const auto& group) {
    return std::ranges::find(group, left) != group.end() && std::ranges::find(group, right) != group.end();
  });
}

// Words of one that mean a word of the other, over the larger number of words: 1 = the same name.
double likeness(std::string_view left, std::string_view right) {
  const auto a = words_of(left);
  const auto b = words_of(right);
  if (a.empty() || b.empty()) return 0;
  const auto shared = std::ranges::count_if(a, [&](const auto& word) {
    return std::ranges::any_of(b, [&](const auto& w) { return mean_the_same(word, w); });
  });
  return static_cast<double>(shared) / static_cast<double>(std::max(a.size(), b.size()));
}

const json::Object* properties_of(const ToolDescription& tool) {
  const json::Value* properties = tool.parameters.if_contains("properties");
  return properties != nullptr && properties->is_object() ? &properties->get_object() : nullptr;
}

bool fits_type(const json::Value& value, const json::Value& schema) {
  if (!schema.is_object()) return true;
  const json::Value* type = schema.get_object().if_contains("type");
  if (type == nullptr || !type->is_string()) return true;
  const std::string_view name = json::view(type->get_string());
  if (value.is_string() && json::view(value.get_string()).starts_with("$"))
    return true;  // a reference, of whatever type
  if (name == "string") return value.is_string();
  if (name == "integer" || name == "number") return value.is_number();
  if (name == "boolean") return value.is_bool();
  if (name == "array") return value.is_array();
  if (name == "object") return value.is_object();
  return true;
}

std::vector<std::string> required_of(const ToolDescription& tool) {
  std::vector<std::string> names;
  const json::Value* required = tool.parameters.if_contains("required");
  if (required == nullptr || !required->is_array()) return names;
  for (const json::Value& name : required->get_array()) {
    if (name.is_string()) names.emplace_back(json::view(name.get_string()));
  }
  return names;
}

// `arguments` under the tool's own names; nothing when they are not its arguments.
std::optional<json::Object> fitted(const json::Object& arguments, const ToolDescription& tool) {
  const json::Object* properties = properties_of(tool);
  json::Object result;
  for (const auto& member : arguments) {
    const std::string_view given(member.key().data(), member.key().size());
    const json::Value* schema = properties == nullptr ? nullptr : properties->if_contains(given);
    std::string_view name = given;
    if (schema == nullptr && properties != nullptr) {
      double best = 0;
      for (const auto& property : *properties) {
        const std::string_view own(property.key().data(), property.key().size());
        if (arguments.contains(own) || result.contains(own)) continue;
        const double like = likeness(given, own);
        if (like > best) std::tie(best, name, schema) = std::tuple(like, own, &property.value());
      }
    }
    if (schema == nullptr || !fits_type(member.value(), *schema)) return std::nullopt;
    result[name] = member.value();
  }
  for (const std::string& name : required_of(tool)) {
    if (!result.contains(name)) return std::nullopt;
  }
  return result;
}

}  // namespace

Mapping map_call(ActionCall call, const ToolRegistry& tools) {
  if (tools.find(call.tool) != nullptr) return {std::move(call), false};
  struct Candidate {
    const ToolDescription* tool;
    json::Object arguments;
    double likeness;
  };
  std::vector<Candidate> candidates;
  for (const auto& tool : tools.tools()) {
    const ToolDescription& description = tool->description();
    auto arguments = fitted(call.arguments, description);
    const double like = likeness(call.tool, description.name);
    // A name that shares nothing with the tool's, and no arguments to tell by, mean nothing.
    if (!arguments || (like == 0 && call.arguments.empty())) continue;
    candidates.push_back({&description, std::move(*arguments), like});
  }
  if (candidates.empty()) return {std::move(call), false};
  std::ranges::sort(candidates, std::greater<>(), &Candidate::likeness);
  if (candidates.size() > 1 && candidates[0].likeness == candidates[1].likeness) return {std::move(call), false};
  call.tool = candidates[0].tool->name;
  call.arguments = std::move(candidates[0].arguments);
  return {std::move(call), true};
}

std::vector<std::string> near_tools(std::string_view name, const ToolRegistry& tools, std::size_t most) {
  std::vector<std::pair<double, std::string>> near;
  for (const auto& tool : tools.tools()) {
    const double like = likeness(name, tool->description().name);
    if (like > 0) near.emplace_back(like, tool->description().name);
  }
  std::ranges::sort(
      near, [](const auto& a, const auto& b) { return std::tie(b.first, a.second) < std::tie(a.first, b.second); });
  std::vector<std::string> names;
  for (std::size_t i = 0; i < std::min(most, near.size()); ++i) names.push_back(std::move(near[i].second));
  return names;
}

}  // namespace autoglm::agent

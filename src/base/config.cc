// SPDX-License-Identifier: Apache-2.0
#include "base/config.h"

#include <fmt/format.h>

#include <toml++/toml.h>

#include <exception>
#include <sstream>
#include <string>

namespace autoglm::base {
namespace {

constexpr std::size_t kMaxBytes = 1u << 20;

json::Value to_json(const toml::node& node);

json::Object table_to_json(const toml::table& table) {
  json::Object object;
  for (const auto& [key, value] : table) object.emplace(key.str(), to_json(value));
  return object;
}

// toml++ itself refuses nesting deeper than 256, so the recursion is bounded.
json::Value to_json(const toml::node& node) {
  if (const auto* table = node.as_table()) return table_to_json(*table);
  if (const auto* array = node.as_array()) {
    json::Array items;
    for (const auto& item : *array) items.push_back(to_json(item));
    return items;
  }
  if (const auto* text = node.as_string()) return json::Value(json::String(text->get()));
  if (const auto* number = node.as_integer()) return json::Value(number->get());
  if (const auto* number = node.as_floating_point()) return json::Value(number->get());
  if (const auto* truth = node.as_boolean()) return json::Value(truth->get());
  std::ostringstream text;  // dates and times, which JSON lacks
  node.visit([&text](const auto& value) {
    if constexpr (toml::is_date<decltype(value)> || toml::is_time<decltype(value)> ||
                  toml::is_date_time<decltype(value)>) {
      text << value;
    }
  });
  return json::Value(json::String(text.str()));
}

}  // namespace

Result<json::Object> parse_toml(std::string_view text, std::string_view name) {
  if (text.size() > kMaxBytes) {
    return fail(Code::kExhausted, fmt::format("{} has {} bytes, at most {} are read", name, text.size(), kMaxBytes));
  }
  try {
    return table_to_json(toml::parse(text, name));
  } catch (const toml::parse_error& error) {
    return fail(Code::kInvalidArgument,
                fmt::format("{} is not valid TOML: line {}, column {}: {}", name, error.source().begin.line,
                            error.source().begin.column, error.description()));
  } catch (const std::exception& error) {
    return fail(Code::kInvalidArgument, fmt::format("{} cannot be read as TOML: {}", name, error.what()));
  }
}

}  // namespace autoglm::base

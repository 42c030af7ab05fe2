// SPDX-License-Identifier: Apache-2.0
#include "text/tool_calls/argument_kinds.h"

#include <array>
#include <utility>

namespace autoglm::text {
namespace {

constexpr int kMaxSchemaDepth = 8;

unsigned kinds_named(const json::Value& type) {
  constexpr std::array<std::pair<std::string_view, unsigned>, 7> kNames = {
      {{"null", kNullArgument},
       {"boolean", kBooleanArgument},
       {"integer", kIntegerArgument},
       {"number", kIntegerArgument | kNumberArgument},
       {"string", kStringArgument},
       {"array", kArrayArgument},
       {"object", kObjectArgument}}};
  if (type.is_array()) {
    unsigned kinds = 0;
    for (const json::Value& one : type.get_array()) kinds |= one.is_string() ? kinds_named(one) : kAnyArgument;
    return kinds;
  }
  if (!type.is_string()) return kAnyArgument;
  for (const auto& [name, kinds] : kNames) {
    if (type.get_string() == name) return kinds;
  }
  return kAnyArgument;
}

unsigned kinds_within(const json::Value& schema, int depth) {
  if (!schema.is_object() || depth > kMaxSchemaDepth) return kAnyArgument;
  const json::Object& fields = schema.get_object();
  unsigned kinds = kAnyArgument;
  if (const json::Value* type = fields.if_contains("type")) kinds &= kinds_named(*type);
  if (const json::Value* value = fields.if_contains("const")) kinds &= kind_of(*value);
  if (const json::Value* values = fields.if_contains("enum"); values != nullptr && values->is_array()) {
    unsigned some = 0;
    for (const json::Value& value : values->get_array()) some |= kind_of(value);
    kinds &= some;
  }
  for (const std::string_view keyword : {"anyOf", "oneOf"}) {
    const json::Value* options = fields.if_contains(keyword);
    if (options == nullptr || !options->is_array()) continue;
    unsigned some = 0;
    for (const json::Value& option : options->get_array()) some |= kinds_within(option, depth + 1);
    kinds &= some;
  }
  return kinds;
}

}  // namespace

unsigned kind_of(const json::Value& value) {
  switch (value.kind()) {
    case boost::json::kind::null:
      return kNullArgument;
    case boost::json::kind::bool_:
      return kBooleanArgument;
    case boost::json::kind::int64:
    case boost::json::kind::uint64:
      return kIntegerArgument | kNumberArgument;
    case boost::json::kind::double_:
      return kNumberArgument;
    case boost::json::kind::string:
      return kStringArgument;
    case boost::json::kind::array:
      return kArrayArgument;
    case boost::json::kind::object:
      return kObjectArgument;
  }
  return kAnyArgument;
}

unsigned kinds_of(const json::Value& schema) { return kinds_within(schema, 0); }

std::map<std::string, unsigned, std::less<>> argument_kinds(const json::Object& parameters) {
  std::map<std::string, unsigned, std::less<>> kinds;
  const json::Value* properties = parameters.if_contains("properties");
  if (properties == nullptr || !properties->is_object()) return kinds;
  for (const auto& [key, schema] : properties->get_object()) kinds.emplace(key, kinds_of(schema));
  return kinds;
}

}  // namespace autoglm::text

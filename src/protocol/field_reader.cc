// SPDX-License-Identifier: Apache-2.0
// Typed look-ups with bounds.
#include "protocol/field_reader.h"

#include <algorithm>
#include <cmath>

namespace autoglm::protocol {
namespace {

std::string format(double number) {
  std::string out;
  if (number == std::floor(number) && std::abs(number) < 1e15) return std::to_string(static_cast<std::int64_t>(number));
  json::append_number(out, number);
  return out;
}

}  // namespace

std::string brief(const json::Value& value) {
  switch (value.kind()) {
    case boost::json::kind::object:
      return "an object";
    case boost::json::kind::array:
      return "a list of " + std::to_string(value.get_array().size());
    case boost::json::kind::string: {
      const std::size_t size = value.get_string().size();
      if (size > kMaxShownBytes) return "a string of " + std::to_string(size) + " bytes";
      return json::format(value);
    }
    default:
      return json::format(value);
  }
}

std::optional<std::int64_t> whole_number(const json::Value& value, std::int64_t min, std::int64_t max) {
  std::int64_t number = 0;
  if (value.is_int64()) {
    number = value.get_int64();
  } else if (value.is_uint64()) {
    if (value.get_uint64() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
    number = static_cast<std::int64_t>(value.get_uint64());
  } else if (value.is_double()) {
    const double wide = value.get_double();
    // Beyond 2^53 a double no longer says which whole number was meant.
    if (!(std::abs(wide) <= 9007199254740992.0) || wide != std::floor(wide)) return std::nullopt;
    number = static_cast<std::int64_t>(wide);
  } else {
    return std::nullopt;
  }
  if (number < min || number > max) return std::nullopt;
  return number;
}

const json::Value* FieldReader::take(std::string_view name) {
  known_.push_back(name);
  const json::Value* value = object_.if_contains(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::string FieldReader::name_of(std::string_view field) const {
  if (field.empty()) return place_;  // the object itself
  return place_.empty() ? std::string(field) : place_ + "." + std::string(field);
}

std::unexpected<Error> FieldReader::wrong(std::string_view field, const std::string& expected) const {
  const std::string name = name_of(field);
  const json::Value* came = object_.if_contains(field);
  const std::string what = came == nullptr || came->is_null() ? "" : "; it is " + brief(*came);
  return fail(Code::kInvalidArgument, name + " must be " + expected + what, name);
}

Result<std::optional<bool>> FieldReader::boolean(std::string_view name) {
  const json::Value* value = take(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_bool()) return wrong(name, "true or false");
  return value->get_bool();
}

Result<std::optional<double>> FieldReader::number(std::string_view name, double min, double max) {
  const json::Value* value = take(name);
  if (value == nullptr) return std::nullopt;
  const std::string expected = "a number from " + format(min) + " to " + format(max);
  if (!value->is_number()) return wrong(name, expected);
  const double number = value->to_number<double>();
  if (!(number >= min && number <= max)) return wrong(name, expected);
  return number == 0 ? 0.0 : number;  // -0 is 0
}

Result<std::optional<std::int64_t>> FieldReader::integer(std::string_view name, std::int64_t min, std::int64_t max) {
  const json::Value* value = take(name);
  if (value == nullptr) return std::nullopt;
  auto number = whole_number(*value, min, max);
  if (!number) return wrong(name, "a whole number from " + std::to_string(min) + " to " + std::to_string(max));
  return number;
}

Result<std::optional<std::string>> FieldReader::string(std::string_view name, std::size_t max_bytes) {
  const json::Value* value = take(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string() || value->get_string().size() > max_bytes) {
    return wrong(name, "a string of at most " + std::to_string(max_bytes) + " bytes");
  }
  return std::string(value->get_string());
}

Result<const json::Array*> FieldReader::array(std::string_view name, std::size_t max_size) {
  const json::Value* value = take(name);
  if (value == nullptr) return nullptr;
  if (!value->is_array() || value->get_array().size() > max_size) {
    return wrong(name, "a list of at most " + std::to_string(max_size) + " items");
  }
  return &value->get_array();
}

Result<const json::Object*> FieldReader::object(std::string_view name) {
  const json::Value* value = take(name);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) return wrong(name, "an object");
  return &value->get_object();
}

Status FieldReader::refuse_rest(std::span<const std::string_view> harmless) const {
  for (const auto& member : object_) {
    const std::string_view name = member.key();
    if (member.value().is_null() || std::ranges::find(known_, name) != known_.end() ||
        std::ranges::find(harmless, name) != harmless.end()) {
      continue;
    }
    const std::string full = name_of(name.substr(0, 100));
    return fail(Code::kInvalidArgument, full + " is not supported here", full);
  }
  return {};
}

}  // namespace autoglm::protocol

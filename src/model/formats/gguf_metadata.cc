// SPDX-License-Identifier: Apache-2.0
// The typed accessors of GgufFile: the only way from a metadata value to a number, a text or a list.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/log.h"
#include "model/formats/gguf.h"

namespace autoglm::model {
namespace {

using base::printable;

template <typename T>
T read(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

// An integer of either sign: GGUF has i64 and u64.
struct Integer {
  bool is_negative = false;
  std::uint64_t magnitude = 0;
};

Integer from_signed(std::int64_t value) {
  return {value < 0, value < 0 ? ~static_cast<std::uint64_t>(value) + 1 : static_cast<std::uint64_t>(value)};
}

std::unexpected<Error> missing(std::string_view key) {
  return fail(Code::kCorrupt, "metadata key \"" + std::string(key) + "\" is missing");
}

std::unexpected<Error> out_of_range(std::string_view key) {
  return fail(Code::kCorrupt, "metadata key \"" + printable(key) + "\" is out of range");
}

std::unexpected<Error> too_long(std::string_view key, std::uint64_t count, std::uint64_t limit) {
  return fail(Code::kCorrupt, "metadata key \"" + printable(key) + "\" has " + std::to_string(count) +
                                  " elements; at most " + std::to_string(limit) + " are allowed");
}

}  // namespace

const GgufFile::Value* GgufFile::find_value(std::string_view key) const {
  const auto found = std::ranges::lower_bound(values_, key, {}, &Value::key);
  return found != values_.end() && found->key == key ? &*found : nullptr;
}

std::unexpected<Error> GgufFile::wrong_type(const Value& value, std::string_view expected) {
  return fail(Code::kCorrupt, "metadata key \"" + printable(value.key) + "\" has type " +
                                  (value.is_array ? "array of " : "") + std::string(type_name(value.type)) +
                                  "; expected " + std::string(expected));
}

namespace {

// The integer behind a scalar value, or nothing when its type (by GGUF id) is not an integer.
std::optional<Integer> integer_at(std::uint8_t type, const std::byte* at) {
  switch (type) {
    case 0:
      return Integer{false, read<std::uint8_t>(at)};
    case 1:
      return from_signed(read<std::int8_t>(at));
    case 2:
      return Integer{false, read<std::uint16_t>(at)};
    case 3:
      return from_signed(read<std::int16_t>(at));
    case 4:
      return Integer{false, read<std::uint32_t>(at)};
    case 5:
      return from_signed(read<std::int32_t>(at));
    case 10:
      return Integer{false, read<std::uint64_t>(at)};
    case 11:
      return from_signed(read<std::int64_t>(at));
    default:
      return std::nullopt;
  }
}

}  // namespace

Result<std::optional<std::uint64_t>> GgufFile::find_uint(std::string_view key) const {
  const Value* const value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_array) return wrong_type(*value, "an integer");
  const auto integer = integer_at(static_cast<std::uint8_t>(value->type), value->data);
  if (!integer) return wrong_type(*value, "an integer");
  if (integer->is_negative) return out_of_range(key);
  return integer->magnitude;
}

Result<std::optional<std::int64_t>> GgufFile::find_int(std::string_view key) const {
  const Value* const value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_array) return wrong_type(*value, "an integer");
  const auto integer = integer_at(static_cast<std::uint8_t>(value->type), value->data);
  if (!integer) return wrong_type(*value, "an integer");
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (integer->magnitude > kMax) return out_of_range(key);
  const auto magnitude = static_cast<std::int64_t>(integer->magnitude);
  return integer->is_negative ? -magnitude : magnitude;
}

Result<std::optional<double>> GgufFile::find_float(std::string_view key) const {
  const Value* const value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_array) return wrong_type(*value, "a float");
  double number = 0;
  if (value->type == Type::kF32) {
    number = read<float>(value->data);
  } else if (value->type == Type::kF64) {
    number = read<double>(value->data);
  } else {
    return wrong_type(*value, "a float");
  }
  if (!std::isfinite(number)) return out_of_range(key);
  return number;
}

Result<std::optional<bool>> GgufFile::find_bool(std::string_view key) const {
  const Value* const value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_array || value->type != Type::kBool) return wrong_type(*value, "a bool");
  const auto byte = read<std::uint8_t>(value->data);
  if (byte > 1) return out_of_range(key);
  return byte == 1;
}

Result<std::optional<std::string_view>> GgufFile::find_string(std::string_view key) const {
  const Value* const value = find_value(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_array || value->type != Type::kString) return wrong_type(*value, "a string");
  return std::string_view(reinterpret_cast<const char*>(value->data), value->count);
}

Result<std::uint64_t> GgufFile::get_uint(std::string_view key) const {
  const auto value = TRY(find_uint(key));
  if (!value) return missing(key);
  return *value;
}

Result<double> GgufFile::get_float(std::string_view key) const {
  const auto value = TRY(find_float(key));
  if (!value) return missing(key);
  return *value;
}

Result<std::string_view> GgufFile::get_string(std::string_view key) const {
  const auto value = TRY(find_string(key));
  if (!value) return missing(key);
  return *value;
}

Result<const GgufFile::Value*> GgufFile::find_array(std::string_view key) const {
  const Value* const value = find_value(key);
  if (value != nullptr && !value->is_array) return wrong_type(*value, "an array");
  return value;
}

Result<std::uint64_t> GgufFile::array_length(std::string_view key) const {
  const Value* const value = TRY(find_array(key));
  return value == nullptr ? 0 : value->count;
}

Result<std::vector<std::string>> GgufFile::find_strings(std::string_view key, std::uint64_t limit) const {
  const Value* const value = TRY(find_array(key));
  std::vector<std::string> strings;
  if (value == nullptr) return strings;
  if (value->type != Type::kString) return wrong_type(*value, "an array of string");
  if (value->count > limit) return too_long(key, value->count, limit);
  strings.reserve(value->count);
  const std::byte* at = value->data;  // the strings were walked by parse(): they are inside the file
  for (std::uint64_t i = 0; i < value->count; ++i) {
    const auto size = read<std::uint64_t>(at);
    strings.emplace_back(reinterpret_cast<const char*>(at + 8), size);
    at += 8 + size;
  }
  return strings;
}

Result<std::vector<float>> GgufFile::find_floats(std::string_view key, std::uint64_t limit) const {
  const Value* const value = TRY(find_array(key));
  std::vector<float> floats;
  if (value == nullptr) return floats;
  if (value->type != Type::kF32) return wrong_type(*value, "an array of f32");
  if (value->count > limit) return too_long(key, value->count, limit);
  floats.resize(value->count);
  if (!floats.empty()) std::memcpy(floats.data(), value->data, value->count * sizeof(float));
  return floats;
}

Result<std::vector<std::int32_t>> GgufFile::find_ints(std::string_view key, std::uint64_t limit) const {
  const Value* const value = TRY(find_array(key));
  std::vector<std::int32_t> ints;
  if (value == nullptr) return ints;
  const std::size_t size = type_bytes(value->type);
  if (value->count > limit) return too_long(key, value->count, limit);
  ints.reserve(value->count);
  for (std::uint64_t i = 0; i < value->count; ++i) {
    const auto integer = integer_at(static_cast<std::uint8_t>(value->type), value->data + i * size);
    if (!integer) return wrong_type(*value, "an array of integers");
    if (integer->magnitude > static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max())) {
      return out_of_range(key);
    }
    const auto magnitude = static_cast<std::int32_t>(integer->magnitude);
    ints.push_back(integer->is_negative ? -magnitude : magnitude);
  }
  return ints;
}

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
// An object of config.json's `quantization_config`, whose members every quantiser leaves out as it likes: an absent one
// and null are the same. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace autoglm::model {

class SchemeObject final {
 public:
  explicit SchemeObject(const json::Object& object) : object_(object) {}

  static std::unexpected<Error> lacking(const std::string& message) {
    return fail(Code::kInvalidArgument, "quantization_config: " + message + " is not supported");
  }
  static std::unexpected<Error> wrong(std::string_view key, std::string_view expected) {
    return fail(Code::kCorrupt, "quantization_config: \"" + std::string(key) + "\" is not " + std::string(expected));
  }

  /// The first of two spellings that is there, or null.
  const json::Value* find(std::string_view key, std::string_view other = {}) const {
    for (const std::string_view each : {key, other}) {
      const json::Value* const value = each.empty() ? nullptr : object_.if_contains(each);
      if (value != nullptr && !value->is_null()) return value;
    }
    return nullptr;
  }

  // Errors: kCorrupt (of another kind).
  Result<std::string_view> text(std::string_view key, std::string_view absent, std::string_view other = {}) const {
    const json::Value* const value = find(key, other);
    if (value == nullptr) return absent;
    if (!value->is_string()) return wrong(key, "a string");
    return json::view(value->get_string());
  }
  Result<std::optional<std::int64_t>> integer(std::string_view key, std::string_view other = {}) const {
    const json::Value* const value = find(key, other);
    if (value == nullptr) return std::nullopt;
    if (!value->is_int64()) return wrong(key, "an integer");
    return value->get_int64();
  }
  Result<bool> flag(std::string_view key, bool absent) const {
    const json::Value* const value = find(key);
    if (value == nullptr) return absent;
    if (!value->is_bool()) return wrong(key, "true or false");
    return value->get_bool();
  }

 private:
  const json::Object& object_;
};

}  // namespace autoglm::model

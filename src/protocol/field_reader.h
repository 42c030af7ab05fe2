// SPDX-License-Identifier: Apache-2.0
// Reads the members of one JSON object of a request: each by name and kind within its bounds, and refuses the members
// that nobody asked for. A null member counts as absent, as in the OpenAI API.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace autoglm::protocol {

class FieldReader final {
 public:
  /// `place` is where the object stands in the request ("messages[2]"), empty for the request itself.
  FieldReader(const json::Object& object, std::string place) : object_(object), place_(std::move(place)) {}

  /// The member, or null when absent or null. It counts as known from now on.
  const json::Value* take(std::string_view name);

  // Each fails with kInvalidArgument and the field's name in Error::where.
  Result<std::optional<bool>> boolean(std::string_view name);
  Result<std::optional<double>> number(std::string_view name, double min, double max);
  Result<std::optional<std::int64_t>> integer(std::string_view name, std::int64_t min, std::int64_t max);
  Result<std::optional<std::string>> string(std::string_view name, std::size_t max_bytes);
  Result<const json::Array*> array(std::string_view name, std::size_t max_size);  // null when absent
  Result<const json::Object*> object(std::string_view name);                      // null when absent

  /// Refuses a member that is not null, was not taken and is not in `harmless`.
  Status refuse_rest(std::span<const std::string_view> harmless = {}) const;

  /// The names that were looked for so far, literals of the code that did.
  const std::vector<std::string_view>& known() const { return known_; }

  /// "messages[2].content"
  std::string name_of(std::string_view field) const;
  std::unexpected<Error> wrong(std::string_view field, const std::string& expected) const;

 private:
  const json::Object& object_;
  const std::string place_;
  std::vector<std::string_view> known_;
};

/// What came, in a few words: longer texts and nested values only by their kind and size.
inline constexpr std::size_t kMaxShownBytes = 24;
std::string brief(const json::Value& value);

/// A whole number in [min, max], however JSON wrote it (3, 3.0, 3e0); nothing for anything else.
std::optional<std::int64_t> whole_number(const json::Value& value, std::int64_t min, std::int64_t max);

}  // namespace autoglm::protocol

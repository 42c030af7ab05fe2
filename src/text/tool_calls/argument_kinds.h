// SPDX-License-Identifier: Apache-2.0
// What kinds of JSON value a tool's schema allows for its arguments: what a format without quotes is read and written
// by. Pure functions; any thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/json.h"

namespace autoglm::text {

enum ArgumentKinds : unsigned {
  kNullArgument = 1,
  kBooleanArgument = 2,
  kIntegerArgument = 4,
  kNumberArgument = 8,
  kStringArgument = 16,
  kArrayArgument = 32,
  kObjectArgument = 64,
  kAnyArgument = 127,
};

/// The bits of what a value is.
unsigned kind_of(const json::Value& value);
/// The bits of what a schema may allow; kAnyArgument where it does not say.
unsigned kinds_of(const json::Value& schema);
/// Those of each property of an object's schema.
std::map<std::string, unsigned, std::less<>> argument_kinds(const json::Object& parameters);

}  // namespace autoglm::text

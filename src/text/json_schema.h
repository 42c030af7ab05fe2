// SPDX-License-Identifier: Apache-2.0
// Does a value satisfy a JSON schema? (bridge/, jsonschema.) For arguments that a model wrote, before a tool runs with
// them; constrained decoding has its own way (text/grammar.h). Both sides are untrusted: what checking costs is bounded
// before it begins, patterns and references included. `format` is not asserted.
#pragma once

#include <memory>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace autoglm::text {

// Immutable; any thread.
class JsonSchema {
 public:
  virtual ~JsonSchema() = default;
  /// Of the draft that "$schema" names, else 2020-12.
  ///   Errors   kInvalidArgument, Error::where = JSON pointer into the schema (no schema; a reference to elsewhere or
  ///            without end), kExhausted (too large)
  static Result<std::unique_ptr<const JsonSchema>> parse(std::string_view schema);

  /// Errors: kInvalidArgument with up to four faults in words, Error::where = JSON pointer to the first of them in the
  /// value; kExhausted (checking would take too long).
  virtual Status validate(const json::Value& value) const = 0;
};

}  // namespace autoglm::text

// SPDX-License-Identifier: Apache-2.0
// TOML in, the JSON tree out: settings files and the catalogue are read through here (toml++). Keys keep the file's
// spelling; dates become strings. Any thread.
#pragma once

#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace autoglm::base {

/// Parses a TOML 1.0 document of at most 1 MiB; `name` is what messages call it.
///   Errors   kInvalidArgument with line and column, kExhausted (too large)
Result<json::Object> parse_toml(std::string_view text, std::string_view name);

}  // namespace autoglm::base

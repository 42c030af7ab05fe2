// SPDX-License-Identifier: Apache-2.0
// The file that names the tools of a run which are programs and HTTP endpoints (docs/formats/tools.md). Any thread.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "agent/tool.h"
#include "agent/tools/config_reader.h"

namespace autoglm::agent {

/// TOML, or JSON where `file_name` ends in ".json". Nothing is run but, where there are
/// programs, a trial of the sandbox.
///   Errors   kInvalidArgument with the field's place ("tools.weather.url") in Error::where, kNotFound (a program or
///            folder), kPermissionDenied (no sandbox), kExhausted (larger than 1 MiB)
Result<std::vector<std::unique_ptr<Tool>>> parse_tool_file(std::string_view text, std::string_view file_name,
                                                           const ConfigOptions& options);

}  // namespace autoglm::agent

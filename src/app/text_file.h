// SPDX-License-Identifier: Apache-2.0
// A file that a flag names, read whole. Any thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace autoglm::app {

/// `what` is its role in the sentence ("the script"), `flag` what named it, if a flag did.
///   Errors   kNotFound (cannot be read: why), kInvalidArgument (a folder)
Result<std::string> read_text_file(const std::filesystem::path& path, std::string_view what, std::string_view flag);

}  // namespace autoglm::app

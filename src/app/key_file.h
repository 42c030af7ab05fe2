// SPDX-License-Identifier: Apache-2.0
// The files of keys that `serve --api-key-file` and `--admin-key-file` name. Main thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace autoglm::app {

inline constexpr std::string_view kKeyFlag = "--api-key-file";
inline constexpr std::string_view kAdminKeyFlag = "--admin-key-file";

/// One key a line, of visible ASCII characters; white space around it, blank lines and lines that start with '#' do not
/// count. Errors: kInvalidArgument, with NAME:LINE where a line is no key, and for a file without keys.
/// `flag` is what named the file.
Result<std::vector<std::string>> parse_keys(std::string_view text, std::string_view name,
                                            std::string_view flag = kKeyFlag);

/// The keys of a file; warns when others may read it. Errors: also kNotFound.
Result<std::vector<std::string>> read_keys(const std::string& path, std::string_view flag = kKeyFlag);

}  // namespace autoglm::app

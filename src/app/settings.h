// SPDX-License-Identifier: Apache-2.0
// A settings file: every flag of a verb as a line of TOML, `max_batch_size = 8`. What the command line says wins. Main
// thread.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <string_view>

#include "base/result.h"

namespace autoglm::app {

/// Gives `verb`'s options the values of `text` unless the command line set them. A key is a flag's long name, with '-'
/// or
/// '_'; a list sets an option that may come several times.
///   Errors   kInvalidArgument naming the key: unknown, a table, or a value that the flag refuses
Status apply_settings(CLI::App& verb, std::string_view text, std::string_view file_name);

/// The same from a file; kNotFound when it cannot be read.
Status apply_settings_file(CLI::App& verb, const std::string& path);

/// "512M", "2G", "1.5G", "1048576": bytes, K M G T = powers of 1024. Errors: kInvalidArgument.
Result<std::size_t> parse_bytes(std::string_view text);

}  // namespace autoglm::app

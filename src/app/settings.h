// SPDX-License-Identifier: Apache-2.0
// A settings file: every flag of a verb as a line of TOML, `max_batch_size = 8`. What the command line says wins. Main
// thread.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace autoglm::app {

/// Gives `verb`'s options the values of `text` unless the command line set them. A key is a flag's long name, with '-'
/// or
/// '_'; a list sets an option that may come several times.
///   Errors   kInvalidArgument naming the key: unknown, a table, or a value that the flag refuses
/// With `tables` a key `model` whose value is a list of tables ([[model]]) is no flag: they are given back.
Status apply_settings(CLI::App& verb, std::string_view text, std::string_view file_name, json::Array* tables = nullptr);
/// The same of settings that were read already.
Status apply_settings(CLI::App& verb, const json::Object& settings, std::string_view file_name);

/// The same from a file; kNotFound when it cannot be read.
Status apply_settings_file(CLI::App& verb, const std::string& path, json::Array* tables = nullptr);

/// "512M", "2G", "1.5G", "1048576": bytes, K M G T = powers of 1024. Errors: kInvalidArgument with `flag` as place.
Result<std::size_t> parse_bytes(std::string_view text, std::string_view flag = "--kv-memory");

}  // namespace autoglm::app

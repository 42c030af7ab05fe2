// SPDX-License-Identifier: Apache-2.0
// Logging: one line an event on stderr, through spdlog. Prompts, keys and model output are never logged. Any thread.
#pragma once

#include <spdlog/spdlog.h>

#include <string_view>

#include "base/result.h"

namespace autoglm::base {

/// "trace", "debug", "info", "warn", "error", "off"; anything else is kInvalidArgument. Colours on a terminal only.
Status set_log_level(std::string_view level);

/// `text` with control bytes and escape sequences shown as \xNN, cut at `limit` bytes: for untrusted text in a log
/// line.
std::string printable(std::string_view text, std::size_t limit = 200);

}  // namespace autoglm::base

#define LOG_DEBUG(...) ::spdlog::debug(__VA_ARGS__)
#define LOG_WARN(...) ::spdlog::warn(__VA_ARGS__)
#define LOG_ERROR(...) ::spdlog::error(__VA_ARGS__)

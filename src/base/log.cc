// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <memory>
#include <string>

namespace autoglm::base {
namespace {

// Makes spdlog's registry before there are threads. Two that log first at once are safe, but ThreadSanitizer does not
// see why: the lock is in a library that it was not compiled into.
[[maybe_unused]] const spdlog::logger* const kFirst = spdlog::default_logger_raw();

}  // namespace

Status set_log_level(std::string_view level) {
  spdlog::level::level_enum chosen = spdlog::level::info;
  if (level == "trace") {
    chosen = spdlog::level::trace;
  } else if (level == "debug") {
    chosen = spdlog::level::debug;
  } else if (level == "info") {
    chosen = spdlog::level::info;
  } else if (level == "warn") {
    chosen = spdlog::level::warn;
  } else if (level == "error") {
    chosen = spdlog::level::err;
  } else if (level == "off") {
    chosen = spdlog::level::off;
  } else {
    return fail(Code::kInvalidArgument,
                fmt::format("log level '{}' is not one of trace, debug, info, warn, error, off", printable(level)));
  }
  static const auto logger = [] {
    // stdout belongs to answers and machine-readable output; the colour sink looks whether stderr is a terminal.
    auto made =
        std::make_shared<spdlog::logger>("openautoglm", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
    spdlog::set_default_logger(made);
    return made;
  }();
  logger->set_level(chosen);
  return {};
}

std::string printable(std::string_view text, std::size_t limit) {
  const bool is_cut = text.size() > limit;
  if (is_cut) {
    text = text.substr(0, limit);
    // A character of several bytes is not cut in half: what stays must be as valid as what came.
    while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0) == 0x80) text.remove_suffix(1);
    if (!text.empty() && static_cast<unsigned char>(text.back()) >= 0xC0) text.remove_suffix(1);
  }
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // C1 controls (U+0080..U+009F) are C2 80..C2 9F in UTF-8; terminals obey some of them.
    const bool is_c1 = byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else if (is_c1) {
      out += fmt::format("\\x{:02x}\\x{:02x}", byte, static_cast<unsigned char>(text[++i]));
    } else {
      out += text[i];
    }
  }
  if (is_cut) out += "...";
  return out;
}

}  // namespace autoglm::base

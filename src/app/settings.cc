// SPDX-License-Identifier: Apache-2.0
#include "app/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "app/text_file.h"
#include "base/config.h"
#include "base/json.h"
#include "base/log.h"

namespace autoglm::app {
namespace {

// What the command line would have said.
std::string spelling(const json::Value& value) {
  if (value.is_string()) return std::string(value.as_string());
  return json::format(value);
}

Status apply_one(CLI::App& verb, std::string_view key, const json::Value& value, std::string_view file_name) {
  std::string flag(key);
  std::ranges::replace(flag, '_', '-');
  CLI::Option* option = verb.get_option_no_throw("--" + flag);
  if (option == nullptr || flag == "config" || flag == "help") {
    return fail(Code::kInvalidArgument,
                fmt::format("{}: '{}' is not a setting of `{}`", file_name, base::printable(key), verb.get_name()),
                "--config");
  }
  if (option->count() > 0) return {};  // the command line wins
  const auto refuse = [&](std::string_view why) {
    return fail(Code::kInvalidArgument, fmt::format("{}: '{}' {}", file_name, base::printable(key), why), "--config");
  };
  if (value.is_object() || value.is_null()) return refuse("must be a plain value");
  try {
    if (value.is_array()) {
      for (const auto& item : value.as_array()) {
        if (item.is_object() || item.is_array()) return refuse("must be a list of plain values");
        option->add_result(spelling(item));
      }
    } else {
      option->add_result(spelling(value));
    }
    if (option->count() > 0) option->run_callback();
  } catch (const CLI::Error& error) {
    return refuse(fmt::format("is refused: {}", base::printable(error.what())));
  }
  return {};
}

}  // namespace

Status apply_settings(CLI::App& verb, std::string_view text, std::string_view file_name, json::Array* tables) {
  json::Object settings = TRY(base::parse_toml(text, file_name));
  const auto is_table = [](const json::Value& value) { return value.is_object(); };
  if (json::Value* models = settings.if_contains("model"); tables != nullptr && models != nullptr) {
    if (models->is_array() && !models->get_array().empty() && std::ranges::all_of(models->get_array(), is_table)) {
      *tables = std::move(models->get_array());
      settings.erase("model");
    }
  }
  return apply_settings(verb, settings, file_name);
}

Status apply_settings(CLI::App& verb, const json::Object& settings, std::string_view file_name) {
  for (const auto& item : settings)
    TRY(apply_one(verb, std::string_view(item.key().data(), item.key().size()), item.value(), file_name));
  return {};
}

Status apply_settings_file(CLI::App& verb, const std::string& path, json::Array* tables) {
  return apply_settings(verb, TRY(read_text_file(path, "the settings file", "--config")), path, tables);
}

Result<std::size_t> parse_bytes(std::string_view text, std::string_view flag) {
  const auto refuse = [text, flag] {
    return fail(Code::kInvalidArgument, fmt::format("'{}' is not a size such as 512M or 2G", base::printable(text)),
                std::string(flag));
  };
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !std::isfinite(number) || number < 0) return refuse();
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (unit.ends_with("iB")) unit.remove_suffix(2);
  if (unit.ends_with('B')) unit.remove_suffix(1);
  constexpr std::string_view kUnits = "KMGT";
  double factor = 1;
  if (!unit.empty()) {
    const auto at = kUnits.find(static_cast<char>(unit[0] & ~0x20));
    if (unit.size() != 1 || at == std::string_view::npos) return refuse();
    factor = std::pow(1024.0, static_cast<double>(at + 1));
  }
  if (number * factor >= 0x1p62) return refuse();
  return static_cast<std::size_t>(number * factor);
}

}  // namespace autoglm::app

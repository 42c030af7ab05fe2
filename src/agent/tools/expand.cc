// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/expand.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace autoglm::agent {
namespace {

bool is_variable_name(std::string_view name) {
  const auto is_plain = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; };
  return !name.empty() && std::ranges::all_of(name, is_plain);
}

}  // namespace

std::optional<std::string> environment_variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

Result<std::string> expand(std::string_view text, const Variables& variables) {
  std::string out;
  for (;;) {
    const auto begin = text.find("${");
    const auto end = begin == std::string_view::npos ? begin : text.find('}', begin);
    if (end == std::string_view::npos) return out + std::string(text);
    const std::string_view inner = text.substr(begin + 2, end - begin - 2);
    const auto dash = inner.find(":-");
    const std::string name(inner.substr(0, dash));
    out += text.substr(0, begin);
    if (!is_variable_name(name)) {
      out += text.substr(begin, end + 1 - begin);
    } else if (const auto value = variables(name)) {
      out += *value;
    } else if (dash != std::string_view::npos) {
      out += inner.substr(dash + 2);
    } else {
      return fail(Code::kNotFound, fmt::format("the environment variable {} is not set", name));
    }
    text.remove_prefix(end + 1);
  }
}

}  // namespace autoglm::agent

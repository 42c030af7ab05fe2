// SPDX-License-Identifier: Apache-2.0
#include "app/key_file.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "app/text_file.h"
#include "base/log.h"

namespace autoglm::app {
namespace {

std::string_view trimmed(std::string_view line) {
  constexpr std::string_view kSpace = " \t\r";
  const auto begin = line.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return line.substr(begin, line.find_last_not_of(kSpace) - begin + 1);
}

}  // namespace

Result<std::vector<std::string>> parse_keys(std::string_view text, std::string_view name, std::string_view flag) {
  std::vector<std::string> keys;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = text.find('\n');
    const std::string_view key = trimmed(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (key.empty() || key.front() == '#') continue;
    // The key itself is a secret and stays out of the message.
    if (!std::ranges::all_of(key, [](char c) { return c > 0x20 && c < 0x7f; })) {
      return fail(Code::kInvalidArgument,
                  fmt::format("{}:{}: an API key must be visible ASCII characters, without a space", name, number),
                  std::string(flag));
    }
    keys.emplace_back(key);
  }
  if (keys.empty()) {
    return fail(Code::kInvalidArgument, fmt::format("the key file {} holds no key", name), std::string(flag));
  }
  return keys;
}

Result<std::vector<std::string>> read_keys(const std::string& path, std::string_view flag) {
  const std::string text = TRY(read_text_file(path, "the key file", flag));
  struct stat facts{};
  if (stat(path.c_str(), &facts) == 0 && (facts.st_mode & 077) != 0) {
    LOG_WARN("{} can be read by other users; `chmod 600` keeps the keys secret", base::printable(path));
  }
  return parse_keys(text, base::printable(path), flag);
}

}  // namespace autoglm::app

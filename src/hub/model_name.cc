// SPDX-License-Identifier: Apache-2.0
#include "hub/model_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <vector>

#include "base/log.h"

namespace autoglm::hub {
namespace {

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

}  // namespace

bool is_valid_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 && name.front() != '.' && name.front() != '-' &&
         std::ranges::all_of(name, is_name_character);
}

bool is_safe_path(std::string_view path) {
  if (path.empty() || path.size() > 255) return false;
  int depth = 0;
  while (true) {
    const auto slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (++depth > 8 || part.empty() || part.size() > 128 || part == "." || part == "..") return false;
    if (!std::ranges::all_of(part, [](char c) { return is_name_character(c) || c == '+'; })) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

std::string HubReference::folder_name() const {
  std::string name = "hf--" + repository + (file.empty() ? "" : "--" + file);
  for (auto at = name.find('/'); at != std::string::npos; at = name.find('/', at)) name.replace(at, 1, "--");
  return name;
}

Result<std::optional<HubReference>> parse_hub_reference(std::string_view text) {
  if (!text.starts_with("hf:")) return std::nullopt;
  const auto refuse = [text](std::string_view why) {
    return fail(Code::kInvalidArgument,
                fmt::format("'{}' is not hf:ORG/NAME or hf:ORG/NAME:FILE ({})", base::printable(text), why), "MODEL");
  };
  const std::string_view rest = text.substr(3);
  const auto colon = rest.find(':');
  HubReference reference{.repository = std::string(rest.substr(0, colon)), .file = {}};
  if (colon != std::string_view::npos) {
    reference.file = rest.substr(colon + 1);
    if (!is_safe_path(reference.file)) return refuse("the file is not a plain relative path");
  }
  const auto slash = reference.repository.find('/');
  if (slash == std::string::npos) return refuse("ORG/NAME needs its '/'");
  const std::string_view repository = reference.repository;
  if (!is_valid_name(repository.substr(0, slash)) || !is_valid_name(repository.substr(slash + 1))) {
    return refuse("names hold letters, digits, '.', '_' and '-'");
  }
  // Each reference has a folder of its own: "--" stands for '/' and ':' in its name, and nothing stands for '+'.
  if (rest.find("--") != std::string_view::npos) return refuse("names hold no \"--\"");
  if (rest.find('+') != std::string_view::npos) return refuse("names hold no '+'");
  if (reference.folder_name().find("---") != std::string::npos) return refuse("no name begins or ends with '-'");
  if (!is_valid_name(reference.folder_name())) return refuse("it is too long");
  return reference;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Optimal string alignment over three rolling rows; names are at most 128 bytes.
  std::vector<std::size_t> before(b.size() + 1), row(b.size() + 1), next(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    next[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool is_same = lower(a[i - 1]) == lower(b[j - 1]);
      next[j] = std::min({row[j] + 1, next[j - 1] + 1, row[j - 1] + (is_same ? 0u : 1u)});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1])) {
        next[j] = std::min(next[j], before[j - 2] + 1);
      }
    }
    std::swap(before, row);
    std::swap(row, next);
  }
  return row[b.size()];
}

}  // namespace autoglm::hub

// SPDX-License-Identifier: Apache-2.0
#include "agent/reference_syntax.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/ascii.h"

namespace autoglm::agent {
namespace {

constexpr std::string_view kStep = "step_";
constexpr std::size_t kMaxDigits = 6;
constexpr std::size_t kMaxParts = 64;
constexpr std::size_t kMaxQuotedBytes = 256;

bool is_name_char(char c) { return base::is_letter_or_digit(c) || c == '_' || c == '-'; }

// Reads from the front of a text; a failed read takes nothing.
class Scanner final {
 public:
  explicit Scanner(std::string_view text) : left_(text), size_(text.size()) {}
  std::size_t taken() const { return size_ - left_.size(); }

  bool take(std::string_view word) {
    if (!left_.starts_with(word)) return false;
    left_.remove_prefix(word.size());
    return true;
  }

  std::optional<std::size_t> number() {
    std::size_t value = 0;
    const std::string_view digits = left_.substr(0, kMaxDigits + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    const auto count = static_cast<std::size_t>(end - digits.data());
    if (error != std::errc() || count > kMaxDigits) return std::nullopt;
    left_.remove_prefix(count);
    return value;
  }

  std::string_view name() {
    const auto end = std::ranges::find_if_not(left_, is_name_char);
    const std::string_view found = left_.substr(0, static_cast<std::size_t>(end - left_.begin()));
    left_.remove_prefix(found.size());
    return found;
  }

  // The text up to `mark`, which is taken too. Looks only so far ahead, or many openings would make it quadratic.
  std::optional<std::string_view> until(std::string_view mark) {
    const auto at = left_.substr(0, kMaxQuotedBytes).find(mark);
    if (at == std::string_view::npos) return std::nullopt;
    const std::string_view found = left_.substr(0, at);
    left_.remove_prefix(at + mark.size());
    return found;
  }

  // Would a name go on here? "$step_1_old" is a name of something else.
  bool is_within_name() const { return !left_.empty() && is_name_char(left_.front()) && left_.front() != '-'; }

 private:
  std::string_view left_;
  std::size_t size_;
};

std::optional<PathPart> take_part(Scanner& scanner) {
  Scanner ahead = scanner;
  std::optional<PathPart> part;
  if (ahead.take(".")) {
    if (const auto name = ahead.name(); !name.empty()) part = std::string(name);
  } else if (ahead.take("[\"")) {
    if (const auto name = ahead.until("\"]")) part = std::string(*name);
  } else if (ahead.take("['")) {
    if (const auto name = ahead.until("']")) part = std::string(*name);
  } else if (ahead.take("[")) {
    if (const auto index = ahead.number(); index && ahead.take("]")) part = *index;
  }
  if (part) scanner = ahead;
  return part;
}

// A reference at the front of `text`, which begins with '$'.
std::optional<Reference> reference_at(std::string_view text) {
  Scanner scanner(text);
  Reference reference;
  scanner.take("$");
  reference.is_escaped = scanner.take("$");
  reference.is_braced = scanner.take("{");
  if (!scanner.take(kStep)) return std::nullopt;
  const auto step = scanner.number();
  if (!step || scanner.is_within_name()) return std::nullopt;
  reference.step = *step;
  while (reference.path.size() < kMaxParts) {
    auto part = take_part(scanner);
    if (!part) break;
    reference.path.push_back(std::move(*part));
  }
  if (reference.is_braced && !scanner.take("}")) return std::nullopt;
  reference.size = scanner.taken();
  reference.spelling = text.substr(0, reference.size);
  return reference;
}

}  // namespace

std::vector<Reference> references_in(std::string_view text) {
  std::vector<Reference> found;
  for (std::size_t at = text.find('$'); at != std::string_view::npos; at = text.find('$', at)) {
    if (auto reference = reference_at(text.substr(at))) {
      reference->begin = at;
      at += reference->size;
      found.push_back(std::move(*reference));
    } else {
      ++at;
    }
  }
  return found;
}

std::string format_path(const std::vector<PathPart>& path) {
  std::string text;
  for (const PathPart& part : path) {
    if (const auto* index = std::get_if<std::size_t>(&part)) {
      text += fmt::format("[{}]", *index);
    } else {
      text += "." + std::get<std::string>(part);
    }
  }
  return text;
}

}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
#include "agent/result_lines.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"

namespace autoglm::agent {
namespace {

// No more of a text is counted than this for each token that it may have: long runs of blanks are few tokens.
constexpr std::size_t kMaxBytesPerToken = 8;

std::string rest_of(std::size_t step, std::size_t shown, std::size_t lines) {
  return fmt::format(
      "[{} of {} lines are shown. read_result with {{\"step\": {}, \"from_line\": {}}} reads on, with {{\"step\": {}, "
      "\"search\": \"...\"}} it finds lines. The argument \"$step_{}\" stands for all of them.]",
      shown, lines, step, shown + 1, step, step);
}

}  // namespace

ResultLines::ResultLines(std::string_view text) : text_(text) {
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] == '\n') {
      begin = ++i;
      ends_.push_back(i);
      continue;
    }
    const std::size_t size = base::utf8_step(text.substr(i)).size;
    if (i + size - begin > kMaxLineBytes) {
      ends_.push_back(i);
      begin = i;
    }
    i += size;
  }
  if (begin < text.size()) ends_.push_back(text.size());
}

std::string_view ResultLines::line(std::size_t number) const {
  std::string_view line = lines(number, 1);
  if (line.ends_with('\n')) line.remove_suffix(1);
  return line;
}

std::size_t ResultLines::fitting(std::size_t first, std::size_t max_bytes) const {
  const std::size_t limit = begin_of(first) + max_bytes;
  const auto from = ends_.begin() + static_cast<std::ptrdiff_t>(first - 1);
  return static_cast<std::size_t>(std::upper_bound(from, ends_.end(), limit) - from);
}

std::string_view ResultLines::lines(std::size_t first, std::size_t count) const {
  if (count == 0) return {};
  return text_.substr(begin_of(first), ends_[first + count - 2] - begin_of(first));
}

Result<std::string> clip_result(std::string_view text, std::size_t step, std::size_t max_tokens,
                                const CountText& count) {
  if (text.size() <= max_tokens) return std::string(text);  // a token has at least one byte
  std::size_t max_bytes = max_tokens * kMaxBytesPerToken;
  if (text.size() <= max_bytes) {
    const std::size_t tokens = TRY(count(text));
    if (tokens <= max_tokens) return std::string(text);
    max_bytes = text.size() * max_tokens / tokens;
  }
  const ResultLines lines(text);
  for (;;) {
    const std::size_t shown = lines.fitting(1, max_bytes);
    std::string clipped(lines.lines(1, shown));
    if (shown > 0 && !clipped.ends_with('\n')) clipped += '\n';
    clipped += rest_of(step, shown, lines.count());
    if (shown == 0) return clipped;
    const std::size_t tokens = TRY(count(clipped));
    if (tokens <= max_tokens) return clipped;
    // A little less than the share of tokens asks for, and at least one line less.
    const std::size_t bytes = lines.lines(1, shown).size();
    max_bytes = std::min(bytes - 1, bytes * max_tokens / tokens * 15 / 16);
  }
}

}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
// A tool's result in numbered lines: what the window shows of a long one, and what `read_result` reads of it, count the
// same lines. A line longer than kMaxLineBytes counts as several, cut between characters, so that every text has lines
// small enough to be shown. Borrows the text; any thread.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace autoglm::agent {

class ResultLines final {
 public:
  static constexpr std::size_t kMaxLineBytes = 200;

  explicit ResultLines(std::string_view text);

  std::size_t count() const { return ends_.size(); }
  /// Line `number` (from 1), without its line break.
  std::string_view line(std::size_t number) const;
  /// How many whole lines from `first` on (from 1) have at most `max_bytes` together, line breaks included.
  std::size_t fitting(std::size_t first, std::size_t max_bytes) const;
  /// `count` lines from `first` on, as they stand in the text.
  std::string_view lines(std::size_t first, std::size_t count) const;

 private:
  std::size_t begin_of(std::size_t number) const { return number == 1 ? 0 : ends_[number - 2]; }

  std::string_view text_;
  std::vector<std::size_t> ends_;  // offset after each line, its line break included
};

using CountText = std::function<Result<std::size_t>(std::string_view)>;

/// `text` of step `step` within `max_tokens`: whole, or its first lines and a sentence that tells how the rest is read.
/// Errors: of `count`. Cost: a few counts of about `max_tokens`, however long the text is.
Result<std::string> clip_result(std::string_view text, std::size_t step, std::size_t max_tokens,
                                const CountText& count);

}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
// Stop strings over a text that grows piece by piece: text that may be the beginning of a stop string is held back
// until that is decided, so that a client never sees a part of one. Engine thread only; one per sequence.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace autoglm::engine {

class StopText final {
 public:
  explicit StopText(std::vector<std::string> stops);

  /// What of the text so far is certain, given that `piece` comes next. After a match everything before the stop string
  /// has been returned and the rest is dropped.
  ///   The first stop string to be complete wins; of several complete at the same byte, the longest.
  ///   Cost   O(bytes * stops * longest stop)
  std::string push(std::string_view piece);
  /// What was held back, when the text ends without a match.
  std::string finish();

  bool is_matched() const { return is_matched_; }

 private:
  std::vector<std::string> stops_;
  std::size_t longest_ = 0;
  std::string held_;  // a suffix of the text that begins some stop string; shorter than the longest one
  bool is_matched_ = false;
};

}  // namespace autoglm::engine

// SPDX-License-Identifier: Apache-2.0
// Lines from stdin that a signal can interrupt. Main thread, with Interrupts installed.
#pragma once

#include <string>

namespace autoglm::app {

class LineInput final {
 public:
  enum class Got { kLine, kEnd, kInterrupt };
  /// The next line, without its line break; kInterrupt drops what was typed so far.
  Got next(std::string& line);
  /// Everything up to the end, at most `limit` bytes. False when there was more, or a signal came.
  bool rest(std::string& text, std::size_t limit);

 private:
  // False at the end or when a signal came.
  bool fill();
  std::string held_;
  bool is_at_end_ = false;
};

}  // namespace autoglm::app

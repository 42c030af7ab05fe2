// SPDX-License-Identifier: Apache-2.0
// Keeps control tokens that a caller spelled apart from those of the template. Before rendering, a mark is put into
// every string of the caller, right after the first character of whatever spells a control token or may become one; a
// mark is one character that occurs nowhere in the input, so none can be forged. After rendering the marks are taken
// out, and the character before each is where no control token may be found. Immutable; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/chat_template.h"

namespace autoglm::text {

class ControlMarks final {
 public:
  /// `spellings` of control tokens; `mark` as choose() gave it.
  ControlMarks(const std::vector<std::string>& spellings, std::string mark);

  /// A character that `seen` does not contain.
  static Result<std::string> choose(std::string_view seen);

  /// `text` with a mark after the first character of each spelling, and of each beginning of one at the end of `text`:
  /// what a template puts behind it may complete it.
  std::string mark(std::string_view text) const;

  /// Takes the marks out of a rendered text, and says where they were.
  RenderedPrompt remove(std::string_view rendered) const;

 private:
  // A prefix tree over the bytes of all spellings. Node 0 is the root.
  struct Node {
    std::map<char, std::uint32_t> children;
    bool ends = false;
  };
  bool begins_spelling(std::string_view text) const;

  std::vector<Node> nodes_;
  std::string mark_;
};

}  // namespace autoglm::text

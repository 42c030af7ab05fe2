// SPDX-License-Identifier: Apache-2.0
// The events of one push(): deltas of one kind are put together, and part of a UTF-8 character waits for the rest of
// it.
#pragma once

#include <string_view>
#include <vector>

#include "text/tool_format.h"

namespace autoglm::text {

class EventList final {
 public:
  /// A delta: text, reasoning or arguments.
  void add(ToolEvent::Kind kind, std::size_t call, std::string_view text);
  /// Anything else.
  void put(ToolEvent::Kind kind, std::size_t call, std::string_view text);
  std::vector<ToolEvent> take(bool is_end);

 private:
  std::vector<ToolEvent> events_;
};

}  // namespace autoglm::text

// SPDX-License-Identifier: Apache-2.0
#include "text/tool_calls/event_list.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"

namespace autoglm::text {
namespace {

bool is_delta(ToolEvent::Kind kind) {
  using Kind = ToolEvent::Kind;
  return kind == Kind::kText || kind == Kind::kReasoning || kind == Kind::kArguments;
}

// Bytes at the end of `text` that may be the beginning of a character.
std::size_t cut_bytes(std::string_view text) {
  for (std::size_t size = 1; size <= std::min<std::size_t>(3, text.size()); ++size) {
    const std::string_view tail = text.substr(text.size() - size);
    if ((static_cast<unsigned char>(tail.front()) & 0xC0) == 0x80) continue;
    return base::utf8_step(tail).kind == base::Utf8Step::Kind::kIncomplete ? size : 0;
  }
  return 0;
}

}  // namespace

void EventList::add(ToolEvent::Kind kind, std::size_t call, std::string_view text) {
  if (text.empty()) return;
  if (!events_.empty() && events_.back().kind == kind && events_.back().call == call) {
    events_.back().text += text;
  } else {
    put(kind, call, text);
  }
}

void EventList::put(ToolEvent::Kind kind, std::size_t call, std::string_view text) {
  events_.push_back({kind, call, std::string(text)});
}

std::vector<ToolEvent> EventList::take(bool is_end) {
  std::vector<ToolEvent> taken = std::exchange(events_, {});
  if (is_end || taken.empty() || !is_delta(taken.back().kind)) return taken;
  ToolEvent& last = taken.back();
  const std::size_t cut = cut_bytes(last.text);
  if (cut == 0) return taken;
  events_.push_back({last.kind, last.call, last.text.substr(last.text.size() - cut)});
  last.text.resize(last.text.size() - cut);
  if (last.text.empty()) taken.pop_back();
  return taken;
}

}  // namespace autoglm::text

// SPDX-License-Identifier: Apache-2.0
#include "text/tool_calls/marker_scan.h"

#include <algorithm>

namespace autoglm::text {

int MarkerScan::step(char c, std::string& plain) {
  held_ += c;
  const std::string_view held = held_;
  std::size_t begin = 0;  // of the longest end of what is held that may be the beginning of a marker
  while (
      begin < held.size() &&
      std::ranges::none_of(markers_, [&](std::string_view marker) { return marker.starts_with(held.substr(begin)); })) {
    ++begin;
  }
  plain.append(held.substr(0, begin));
  const auto found = std::ranges::find(markers_, held.substr(begin));
  if (found == markers_.end()) {
    held_.erase(0, begin);
    return kNone;
  }
  held_.clear();
  return static_cast<int>(found - markers_.begin());
}

}  // namespace autoglm::text

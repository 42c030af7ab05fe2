// SPDX-License-Identifier: Apache-2.0
#include "engine/stop.h"

#include <algorithm>

namespace autoglm::engine {

StopText::StopText(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) longest_ = std::max(longest_, stop.size());
  held_.reserve(longest_ + 1);
}

std::string StopText::push(std::string_view piece) {
  if (is_matched_) return {};
  if (stops_.empty()) return std::string(piece);
  std::string certain;
  for (const char byte : piece) {
    held_ += byte;
    std::size_t matched = 0;
    for (const std::string& stop : stops_) {
      if (held_.ends_with(stop)) matched = std::max(matched, stop.size());
    }
    if (matched > 0) {
      certain.append(held_, 0, held_.size() - matched);
      held_.clear();
      is_matched_ = true;
      return certain;
    }
    // Keep the longest suffix that is the beginning of a stop string; what is before it can never become part of one.
    std::size_t keep = 0;
    for (const std::string& stop : stops_) {
      for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n) {
        if (std::string_view(held_).substr(held_.size() - n) == std::string_view(stop).substr(0, n)) keep = n;
      }
    }
    certain.append(held_, 0, held_.size() - keep);
    held_.erase(0, held_.size() - keep);
  }
  return certain;
}

std::string StopText::finish() {
  std::string rest;
  rest.swap(held_);
  return rest;
}

}  // namespace autoglm::engine

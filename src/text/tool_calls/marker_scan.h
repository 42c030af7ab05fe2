// SPDX-License-Identifier: Apache-2.0
// Finds a few fixed markers in a text that arrives byte by byte, and holds back what may become one. One sequence's.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace autoglm::text {

class MarkerScan final {
 public:
  MarkerScan() = default;
  MarkerScan(std::initializer_list<std::string_view> markers) : markers_(markers) {}
  explicit MarkerScan(std::vector<std::string_view> markers) : markers_(std::move(markers)) {}  // of literals

  static constexpr int kNone = -1;
  /// Takes a byte: what is now certain to be no marker is appended to `plain`; the index of the marker that the byte
  /// completes, or kNone.
  int step(char c, std::string& plain);
  /// The beginning of a marker that is held back.
  const std::string& held() const { return held_; }
  std::string take_held() { return std::exchange(held_, {}); }

 private:
  std::vector<std::string_view> markers_;
  std::string held_;
};

}  // namespace autoglm::text

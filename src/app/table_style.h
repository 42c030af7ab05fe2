// SPDX-License-Identifier: Apache-2.0
// What the tables that verbs print are drawn with: colours and bars. Pure text; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace autoglm::app {

// Escape sequences, or nothing at all.
struct Palette {
  std::string_view bold, dim, bar, plain;
};
const Palette& palette(bool with_colour);

/// A bar of kBarCells cells, `share` (0 to 1) of them filled, to an eighth of a cell.
constexpr int kBarCells = 20;
std::string share_bar(double share);

/// "1 thread", "2 threads".
std::string count_of(std::size_t count, std::string_view noun);

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
// Colours and bars of the tables that verbs print. Pure text; any thread.
#pragma once

#include <string>
#include <string_view>

namespace autoglm::app {

// Escape sequences, or nothing.
struct Palette {
  std::string_view bold, dim, bar, plain;
};
const Palette& palette_of(bool with_colour);

/// A bar of `cells` cells, filled to an eighth of a cell; a share above 1 fills it.
std::string bar(double share, int cells);

}  // namespace autoglm::app

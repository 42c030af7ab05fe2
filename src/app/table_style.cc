// SPDX-License-Identifier: Apache-2.0
#include "app/table_style.h"

#include <algorithm>
#include <cmath>

namespace autoglm::app {

const Palette& palette_of(bool with_colour) {
  static constexpr Palette kColours{.bold = "\x1b[1m", .dim = "\x1b[2m", .bar = "\x1b[36m", .plain = "\x1b[0m"};
  static constexpr Palette kNoColours{.bold = "", .dim = "", .bar = "", .plain = ""};
  return with_colour ? kColours : kNoColours;
}

std::string bar(double share, int cells) {
  static constexpr std::string_view kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * cells * 8));
  std::string filled;
  for (int i = 0; i < eighths / 8; ++i) filled += "█";
  filled += kEighths[eighths % 8];
  const int used = eighths / 8 + (eighths % 8 > 0 ? 1 : 0);
  filled.append(static_cast<std::size_t>(cells - used), ' ');
  return filled;
}

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
#include "app/table_style.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace autoglm::app {
namespace {

constexpr std::string_view kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};

constexpr Palette kColours{.bold = "\x1b[1m", .dim = "\x1b[2m", .bar = "\x1b[36m", .plain = "\x1b[0m"};
constexpr Palette kNoColours{.bold = "", .dim = "", .bar = "", .plain = ""};

}  // namespace

const Palette& palette(bool with_colour) { return with_colour ? kColours : kNoColours; }

std::string share_bar(double share) {
  const int eighths = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * kBarCells * 8));
  std::string cells;
  for (int i = 0; i < eighths / 8; ++i) cells += "█";
  cells += kEighths[eighths % 8];
  const int used = eighths / 8 + (eighths % 8 > 0 ? 1 : 0);
  cells.append(static_cast<std::size_t>(kBarCells - used), ' ');
  return cells;
}

std::string count_of(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

}  // namespace autoglm::app

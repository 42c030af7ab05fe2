// SPDX-License-Identifier: Apache-2.0
#include "agent/result_text.h"

#include <fmt/format.h>

#include "base/utf8.h"

namespace autoglm::agent {
namespace {

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

std::string_view clip_utf8(std::string_view text, std::size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  while (max_bytes > 0 && is_continuation(text[max_bytes])) --max_bytes;
  return text.substr(0, max_bytes);
}

std::string readable_text(std::string_view bytes, std::size_t max_bytes) {
  std::string text;
  std::string_view left = bytes;
  while (!left.empty()) {
    const base::Utf8Step step = base::utf8_step(left);
    const bool is_good = step.kind == base::Utf8Step::Kind::kCharacter && left[0] != '\0';
    const std::string_view piece = is_good ? left.substr(0, step.size) : base::kReplacementCharacter;
    if (text.size() + piece.size() > max_bytes) break;
    text += piece;
    left.remove_prefix(step.size);
  }
  if (!left.empty()) {
    text += fmt::format("\n[cut here: {} of {} bytes are shown]", bytes.size() - left.size(), bytes.size());
  }
  return text;
}

}  // namespace autoglm::agent

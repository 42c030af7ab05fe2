// SPDX-License-Identifier: Apache-2.0
#include "text/control_marks.h"

#include <utility>

#include "base/utf8.h"

namespace autoglm::text {
namespace {

// Planes 15 and 16, private use: no text of any language has them. Each is four bytes of UTF-8.
constexpr std::uint32_t kFirstMark = 0xF0000;
constexpr std::uint32_t kMarks = 0xFFFE;  // of plane 15; its last two are noncharacters

std::string utf8_of(std::uint32_t point) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | ((point >> shift) & 0x3F)); };
  return {static_cast<char>(0xF0 | (point >> 18)), tail(12), tail(6), tail(0)};
}

std::size_t first_character(std::string_view text) { return base::utf8_step(text).size; }

}  // namespace

ControlMarks::ControlMarks(const std::vector<std::string>& spellings, std::string mark)
    : nodes_(1), mark_(std::move(mark)) {
  for (const std::string& spelling : spellings) {
    std::uint32_t at = 0;
    for (const char c : spelling) {
      const auto [child, is_new] = nodes_[at].children.try_emplace(c, static_cast<std::uint32_t>(nodes_.size()));
      at = child->second;
      if (is_new) nodes_.emplace_back();
    }
    if (at != 0) nodes_[at].ends = true;
  }
}

Result<std::string> ControlMarks::choose(std::string_view seen) {
  std::vector<bool> is_used(kMarks);
  for (std::size_t i = 0; i + 4 <= seen.size(); ++i) {
    if (seen[i] != '\xF3' || static_cast<unsigned char>(seen[i + 1]) < 0xB0) continue;  // U+F0000 is F3 B0 80 80
    const auto bits = [&](std::size_t at) {
      return static_cast<std::uint32_t>(static_cast<unsigned char>(seen[at]) & 0x3F);
    };
    const std::uint32_t point = 0xC0000 | bits(i + 1) << 12 | bits(i + 2) << 6 | bits(i + 3);
    if (point >= kFirstMark && point - kFirstMark < kMarks) is_used[point - kFirstMark] = true;
  }
  for (std::uint32_t i = 0; i < kMarks; ++i) {
    if (!is_used[i]) return utf8_of(kFirstMark + i);
  }
  return fail(Code::kInvalidArgument, "the messages use every private character of Unicode's plane 15");
}

bool ControlMarks::begins_spelling(std::string_view text) const {
  std::uint32_t at = 0;
  for (const char c : text) {
    const auto child = nodes_[at].children.find(c);
    if (child == nodes_[at].children.end()) return false;
    at = child->second;
    if (nodes_[at].ends) return true;
  }
  return !nodes_[at].children.empty() && at != 0;  // the text ends within a spelling
}

std::string ControlMarks::mark(std::string_view text) const {
  std::string marked;
  std::size_t copied = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!nodes_[0].children.contains(text[i]) || !begins_spelling(text.substr(i))) continue;
    const std::size_t end = i + first_character(text.substr(i));
    marked.append(text.substr(copied, end - copied)).append(mark_);
    copied = end;
  }
  marked.append(text.substr(copied));
  return marked;
}

RenderedPrompt ControlMarks::remove(std::string_view rendered) const {
  RenderedPrompt prompt;
  std::size_t begin = 0;
  for (std::size_t at = rendered.find(mark_); at != std::string_view::npos && !mark_.empty();
       at = rendered.find(mark_, begin)) {
    prompt.text.append(rendered.substr(begin, at - begin));
    begin = at + mark_.size();
    if (prompt.text.empty()) continue;  // the template has cut away what was marked
    std::size_t character = prompt.text.size() - 1;
    while (character > 0 && (static_cast<unsigned char>(prompt.text[character]) & 0xC0) == 0x80) --character;
    if (!prompt.plain.empty() && prompt.plain.back().end > character) continue;  // two marks on one character
    prompt.plain.push_back({character, prompt.text.size()});
  }
  prompt.text.append(rendered.substr(begin));
  return prompt;
}

}  // namespace autoglm::text

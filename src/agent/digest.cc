// SPDX-License-Identifier: Apache-2.0
#include "agent/digest.h"

#include <map>

#include "agent/message.h"
#include "base/utf8.h"

namespace autoglm::agent {
namespace {

constexpr std::size_t kTaskBytes = 300;
constexpr std::size_t kArgumentBytes = 120;
constexpr std::size_t kResultBytes = 120;
constexpr std::string_view kLeftOut = "(earlier lines are left out)\n";

}  // namespace

std::string one_line(std::string_view text, std::size_t max_bytes) {
  constexpr std::string_view kDots = "...";
  std::string line;
  std::size_t before_dots = 0;  // how much of `line` stays when it must be cut
  while (!text.empty()) {
    const std::size_t size = base::utf8_step(text).size;
    // Breaks and runs of blanks become one blank.
    const bool is_blank = static_cast<unsigned char>(text[0]) <= ' ';
    const std::string_view piece = !is_blank                            ? text.substr(0, size)
                                   : line.empty() || line.back() == ' ' ? std::string_view()
                                                                        : std::string_view(" ");
    if (line.size() + piece.size() > max_bytes) return line.substr(0, before_dots).append(kDots);
    line += piece;
    if (line.size() + kDots.size() <= max_bytes) before_dots = line.size();
    text.remove_prefix(size);
  }
  return line;
}

std::string digest_of(std::string_view earlier, const std::vector<const json::Object*>& messages) {
  std::string digest(earlier);
  if (!digest.empty() && !digest.ends_with('\n')) digest += '\n';
  std::map<std::string, std::string, std::less<>> results;
  for (const json::Object* message : messages) {
    if (role_of(*message) == "tool") {
      const json::Value* id = message->if_contains("tool_call_id");
      if (id != nullptr && id->is_string()) results[id->get_string().c_str()] = content_of(*message);
    }
  }
  for (const json::Object* message : messages) {
    const std::string_view role = role_of(*message);
    const std::string said = one_line(content_of(*message), kTaskBytes);
    if (role == "user") digest += "user: " + said + "\n";
    if (role != "assistant") continue;
    if (!said.empty()) digest += "you: " + said + "\n";
    for (const ActionCall& call : calls_of(*message)) {
      digest += "you called " + call.tool + one_line(json::format(call.arguments), kArgumentBytes);
      const auto found = results.find(call.id);
      digest += found == results.end() ? "\n" : " -> " + one_line(found->second, kResultBytes) + "\n";
    }
  }
  return digest;
}

std::string last_lines(std::string_view digest, std::size_t max_bytes) {
  if (digest.size() <= max_bytes) return std::string(digest);
  if (max_bytes <= kLeftOut.size()) return {};
  const std::string_view tail = digest.substr(digest.size() - (max_bytes - kLeftOut.size()));
  const std::size_t line_break = tail.find('\n');
  if (line_break == std::string_view::npos || line_break + 1 == tail.size()) return {};
  return std::string(kLeftOut) + std::string(tail.substr(line_break + 1));
}

}  // namespace autoglm::agent

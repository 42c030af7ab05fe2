// SPDX-License-Identifier: Apache-2.0
#include "app/line_input.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "app/interrupt.h"

namespace autoglm::app {

bool LineInput::fill() {
  std::array<pollfd, 2> ends{pollfd{STDIN_FILENO, POLLIN, 0}, pollfd{Interrupts::descriptor(), POLLIN, 0}};
  for (;;) {
    if (Interrupts::count() > 0) return false;
    if (poll(ends.data(), ends.size(), -1) < 0 && errno != EINTR) break;
    if (Interrupts::count() > 0) return false;
    if (ends[0].revents == 0) continue;
    std::array<char, 4096> buffer;
    const ssize_t got = read(STDIN_FILENO, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    held_.append(buffer.data(), static_cast<std::size_t>(got));
    return true;
  }
  is_at_end_ = true;
  return false;
}

LineInput::Got LineInput::next(std::string& line) {
  for (;;) {
    if (const auto end = held_.find('\n'); end != std::string::npos) {
      line = held_.substr(0, end);
      if (line.ends_with('\r')) line.pop_back();
      held_.erase(0, end + 1);
      return Got::kLine;
    }
    if (!is_at_end_ && fill()) continue;
    if (!is_at_end_) {
      held_.clear();
      return Got::kInterrupt;
    }
    if (held_.empty()) return Got::kEnd;
    line = std::move(held_);
    held_.clear();
    return Got::kLine;
  }
}

bool LineInput::rest(std::string& text, std::size_t limit) {
  while (!is_at_end_ && held_.size() <= limit && fill()) {
  }
  const bool is_whole = is_at_end_ && held_.size() <= limit;
  text = std::move(held_);
  held_.clear();
  return is_whole;
}

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
#include "app/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "base/log.h"
#include "base/utf8.h"

namespace autoglm::app {

using std::chrono::steady_clock;

bool is_terminal(int descriptor) { return isatty(descriptor) == 1; }

bool has_colours(int descriptor) {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return is_terminal(descriptor) && (no_colour == nullptr || *no_colour == '\0') && term != nullptr &&
         std::string_view(term) != "dumb";
}

std::string dim(std::string_view text, int descriptor) {
  return has_colours(descriptor) ? fmt::format("\x1b[2m{}\x1b[0m", text) : std::string(text);
}

void say(std::FILE* stream, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stream);
  std::fflush(stream);
}

std::size_t terminal_columns(int descriptor) {
  winsize size{};
  return ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string first_columns(std::string_view text, std::size_t columns) {
  std::size_t end = 0;
  while (end < text.size()) {
    // Wide characters have three bytes or more. So have many narrow ones: of those a line holds fewer than it could.
    const std::size_t size = base::utf8_step(text.substr(end)).size;
    const std::size_t width = size >= 3 ? 2 : 1;
    if (width > columns) break;
    columns -= width;
    end += size;
  }
  return std::string(text.substr(0, end));
}

// xterm(1), ENVIRONMENT: it sets XTERM_VERSION, which programs in a tmux in it have too; there tmux draws.
bool cuts_lines() { return std::getenv("XTERM_VERSION") != nullptr && std::getenv("TMUX") == nullptr; }

std::size_t least_lines(std::string_view text, std::size_t columns) {
  std::size_t characters = 0;
  for (std::size_t at = 0; at < text.size(); at += base::utf8_step(text.substr(at)).size) ++characters;
  return std::max<std::size_t>(1, (characters + columns - 1) / columns);
}

std::string format_bytes(std::uint64_t bytes) {
  const auto number = static_cast<double>(bytes);
  if (bytes < 1000) return fmt::format("{} B", bytes);
  if (bytes < 1'000'000) return fmt::format("{:.1f} kB", number / 1e3);
  if (bytes < 1'000'000'000) return fmt::format("{:.1f} MB", number / 1e6);
  return fmt::format("{:.2f} GB", number / 1e9);
}

std::string format_duration(std::chrono::seconds duration) {
  const auto s = duration.count();
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

bool ask(std::string_view question) {
  if (!is_terminal(STDIN_FILENO) || !is_terminal(STDERR_FILENO)) return false;
  std::fprintf(stderr, "%s [Y/n] ", std::string(question).c_str());
  std::string answer;
  if (!std::getline(std::cin, answer)) return false;
  return answer.empty() || answer == "y" || answer == "Y" || answer == "yes";
}

std::string ProgressLine::format(std::uint64_t done, std::uint64_t total, double bytes_per_second, int columns) {
  const std::string rate =
      fmt::format("{}/s", format_bytes(static_cast<std::uint64_t>(std::max(bytes_per_second, 0.0))));
  if (total == 0) return fmt::format("{}  {}", format_bytes(done), rate);
  const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
  std::string left;
  if (bytes_per_second > 0 && done < total) {
    const double seconds = std::min(static_cast<double>(total - done) / bytes_per_second, 359'999.0);
    left = fmt::format("  {} left", format_duration(std::chrono::seconds(static_cast<long>(seconds))));
  }
  const std::string figures =
      fmt::format("{:3.0f} %  {} of {}  {}{}", share * 100, format_bytes(done), format_bytes(total), rate, left);
  const int bar = std::clamp(columns - static_cast<int>(figures.size()) - 4, 0, 40);
  if (bar < 8) return figures;
  const auto full = static_cast<int>(share * bar);
  return fmt::format("[{}{}] {}", std::string(static_cast<std::size_t>(full), '#'),
                     std::string(static_cast<std::size_t>(bar - full), '.'), figures);
}

void ProgressLine::show(std::uint64_t done, std::uint64_t total) {
  const auto now = steady_clock::now();
  if (!has_first_) {  // what an earlier pull brought says nothing about today's rate
    first_ = done;
    has_first_ = true;
  }
  const bool is_complete = total > 0 && done >= total;
  const double seconds = std::chrono::duration<double>(now - started_).count();
  const double rate = seconds > 0.2 && done > first_ ? static_cast<double>(done - first_) / seconds : 0;
  if (!is_moving_) {
    const int tenth = total == 0 ? 0 : static_cast<int>(done * 10 / total);
    if (tenth <= tenth_) return;
    tenth_ = tenth;
    std::fprintf(stderr, "%s\n", format(done, total, rate, 0).c_str());
    return;
  }
  if (!is_complete && now - shown_ < std::chrono::milliseconds(100)) return;
  shown_ = now;
  const auto columns = static_cast<int>(terminal_columns(STDERR_FILENO));
  std::fprintf(stderr, "\r%s\x1b[K", format(done, total, rate, columns).c_str());
  std::fflush(stderr);
  is_open_ = true;
}

void ProgressLine::note(std::string_view line) {
  if (is_open_) std::fputs("\r\x1b[K", stderr);
  is_open_ = false;
  std::fprintf(stderr, "%s\n", base::printable(line, 1000).c_str());
}

void ProgressLine::end() {
  if (is_open_) std::fputc('\n', stderr);
  is_open_ = false;
}

StageLine::StageLine() : is_terminal_(is_terminal(STDERR_FILENO)) {}

void StageLine::show(std::string_view text) {
  if (is_terminal_) say(stderr, fmt::format("\r\x1b[K{}", text));
}

}  // namespace autoglm::app

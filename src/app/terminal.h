// SPDX-License-Identifier: Apache-2.0
// What differs between a person at a terminal and a script: colours, questions, a moving progress bar. Main thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace autoglm::app {

bool is_terminal(int descriptor);
/// A terminal, TERM is not "dumb", and NO_COLOR is not set.
bool has_colours(int descriptor);
/// `text` in the dim style when `descriptor` has colours.
std::string dim(std::string_view text, int descriptor);

/// Writes `text` at once. A terminal that is gone is no failure (fmt::print throws): what runs has to end in order.
void say(std::FILE* stream, std::string_view text);
/// How wide the terminal is; 80 where nobody says.
std::size_t terminal_columns(int descriptor);
/// `text`, cut between characters so that it fits `columns`. Whatever may be two columns wide counts as two.
std::string first_columns(std::string_view text, std::size_t columns);
/// Whether this terminal, when it gets narrower, cuts the lines that it shows, as xterm does; most break them anew.
bool cuts_lines();
/// How many lines of a terminal this wide `text`, written on one line, takes at least: as if no character were wide.
std::size_t least_lines(std::string_view text, std::size_t columns);

/// "98.4 MB", "1.12 GB": decimal, as disks are sold.
std::string format_bytes(std::uint64_t bytes);
/// "0:07", "12:30", "1:02:03".
std::string format_duration(std::chrono::seconds duration);

/// Asks on stderr and reads a line from stdin; empty and "y" mean yes. False at once when either is no terminal.
bool ask(std::string_view question);

// Bytes, rate and time left on stderr: one line that moves on a terminal, a line for every tenth otherwise.
class ProgressLine final {
 public:
  explicit ProgressLine(bool is_moving) : is_moving_(is_moving), started_(std::chrono::steady_clock::now()) {}
  ~ProgressLine() { end(); }
  void show(std::uint64_t done, std::uint64_t total);
  /// A line of its own, above the moving one.
  void note(std::string_view line);
  /// Ends the moving line.
  void end();
  /// The text for given figures; for tests.
  static std::string format(std::uint64_t done, std::uint64_t total, double bytes_per_second, int columns);

 private:
  const bool is_moving_;
  const std::chrono::steady_clock::time_point started_;
  std::chrono::steady_clock::time_point shown_{};
  std::uint64_t first_ = 0;
  bool has_first_ = false;
  int tenth_ = -1;
  bool is_open_ = false;
};

// One line on a terminal that says what is being measured, and is gone when the table comes. Silent otherwise.
class StageLine final {
 public:
  StageLine();
  ~StageLine() { show({}); }
  StageLine(const StageLine&) = delete;
  StageLine& operator=(const StageLine&) = delete;
  /// Empty takes the line away.
  void show(std::string_view text);

 private:
  const bool is_terminal_;
};

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "app/chat.h"
#include "app/task_view.h"
#include "app/terminal.h"
#include "base/mutex.h"

namespace autoglm::app {
namespace {

constexpr std::size_t kShownArguments = 70;
constexpr std::size_t kShownResult = 60;

// One line of at most `most` bytes, cut between characters.
std::string one_line(std::string_view text, std::size_t most) {
  std::string line = safe_for_terminal(text);
  std::ranges::replace(line, '\n', ' ');
  std::ranges::replace(line, '\t', ' ');
  if (line.size() <= most) return line;
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0) == 0x80) --end;
  return line.substr(0, end) + "...";
}

std::string_view sign_of(agent::ActionState state) {
  switch (state) {
    case agent::ActionState::kWaiting:
      return ".";
    case agent::ActionState::kRunning:
      return ">";
    case agent::ActionState::kDone:
      return "+";
    default:
      return "!";
  }
}

class TextView final : public TaskView {
 public:
  explicit TextView(bool is_moving) : is_moving_(is_moving) {}

  void on_begin(std::int64_t run, const std::string& session) override {
    note(fmt::format("run {} of session {}", run, session));
  }
  void on_text(std::string_view) override {}
  void on_turn(const agent::TurnReport& report) override {
    const double rate = report.seconds > 0 ? static_cast<double>(report.usage.completion_tokens) / report.seconds : 0;
    note(fmt::format(
        "turn {}: {} calls, {} of {} prompt tokens from the cache, {} new tokens, {:.1f} s ({:.0f} tokens/s)",
        report.turn, report.calls.size(), report.usage.cached_tokens, report.usage.prompt_tokens,
        report.usage.completion_tokens, report.seconds, rate));
    for (const std::string& name : report.renamed) note("  understood: " + one_line(name, kShownArguments));
  }
  void on_plan(std::span<const agent::Action> actions,
               const std::vector<std::vector<std::size_t>>& waits_for) override {
    base::MutexLock lock(mutex_);
    rows_.clear();
    drawn_ = 0;
    for (std::size_t i = 0; i < actions.size(); ++i) {
      Row row{.action = actions[i], .arguments = json::format(actions[i].call.arguments), .waits_for = {}};
      if (i < waits_for.size()) row.waits_for = waits_for[i];
      rows_.push_back(std::move(row));
    }
    if (is_moving_) draw();
  }
  void on_arguments(const agent::Action& action, const json::Object& arguments) override {
    base::MutexLock lock(mutex_);
    if (Row* row = find(action.step)) row->arguments = json::format(arguments);
  }
  void on_action(const agent::Action& action) override {
    base::MutexLock lock(mutex_);
    Row* row = find(action.step);
    if (row == nullptr) return;
    row->action = action;
    if (is_moving_) {
      draw();
    } else if (action.result.state != agent::ActionState::kWaiting &&
               action.result.state != agent::ActionState::kRunning) {
      fmt::print(stderr, "{}\n", line_of(*row));
    }
  }
  void pause() override {
    base::MutexLock lock(mutex_);
    drawn_ = 0;  // what was drawn stays, and the next drawing begins below the question
  }
  void on_end(const agent::RunReport& report) override {
    fmt::print("{}\n", is_terminal(STDOUT_FILENO) ? safe_for_terminal(report.answer) : report.answer);
    std::fflush(stdout);
    const double other = std::max(0.0, report.seconds - report.model_seconds - report.tool_seconds);
    const std::string anew = report.asked_anew > 0 ? fmt::format(" ({} asked anew)", report.asked_anew) : "";
    note(fmt::format("{}: {} turns{}, {} actions{}; {} prompt tokens ({} from the cache), {} new",
                     run_state_name(report.state), report.turns, anew, report.actions,
                     report.invalid_calls > 0 ? fmt::format(", {} calls that were none", report.invalid_calls) : "",
                     report.usage.prompt_tokens, report.usage.cached_tokens, report.usage.completion_tokens));
    note(fmt::format("{:.1f} s: model {:.1f} s, tools {:.1f} s, the rest {:.1f} s", report.seconds,
                     report.model_seconds, report.tool_seconds, other));
  }

 private:
  struct Row {
    agent::Action action;
    std::string arguments;
    std::vector<std::size_t> waits_for;
  };

  static void note(const std::string& line) { fmt::print(stderr, "{}\n", dim(line, STDERR_FILENO)); }

  Row* find(std::size_t step) REQUIRES(mutex_) {
    const auto found = std::ranges::find_if(rows_, [&](const Row& row) { return row.action.step == step; });
    return found == rows_.end() ? nullptr : &*found;
  }

  static std::string line_of(const Row& row) {
    const agent::ActionState state = row.action.result.state;
    std::string line = fmt::format("  {} {:>2} {} {}", sign_of(state), row.action.step,
                                   one_line(row.action.call.tool, 40), one_line(row.arguments, kShownArguments));
    if (state == agent::ActionState::kWaiting && !row.waits_for.empty()) {
      line += fmt::format("  waits for {}", fmt::join(row.waits_for, ", "));
    } else if (state == agent::ActionState::kWaiting || state == agent::ActionState::kRunning) {
      line += fmt::format("  {}", agent::state_name(state));
    } else {
      line += fmt::format("  {} {:.2f} s: {}", agent::state_name(state), row.action.result.seconds,
                          one_line(row.action.result.text, kShownResult));
    }
    return line;
  }

  // Redraws the graph over what it drew before.
  void draw() REQUIRES(mutex_) {
    if (drawn_ > 0) fmt::print(stderr, "\033[{}A", drawn_);
    for (const Row& row : rows_) fmt::print(stderr, "\033[2K{}\n", line_of(row));
    std::fflush(stderr);
    drawn_ = rows_.size();
  }

  const bool is_moving_;
  base::Mutex mutex_;
  std::vector<Row> rows_ GUARDED_BY(mutex_);
  std::size_t drawn_ GUARDED_BY(mutex_) = 0;
};

}  // namespace

std::unique_ptr<TaskView> make_text_view(bool is_moving) { return std::make_unique<TextView>(is_moving); }

}  // namespace autoglm::app

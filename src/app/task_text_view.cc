// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <limits>

#include "agent/digest.h"
#include "app/chat.h"
#include "app/task_view.h"
#include "app/terminal.h"
#include "base/mutex.h"

namespace autoglm::app {
namespace {

constexpr std::size_t kShownArguments = 70;
constexpr std::size_t kLeastArguments = 16;  // on a narrow terminal
constexpr std::size_t kShownResult = 60;
constexpr std::size_t kAnyColumns = std::numeric_limits<std::size_t>::max();

std::string shown(std::string_view text, std::size_t max_bytes) {
  return agent::one_line(safe_for_terminal(text), max_bytes);
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
    for (const std::string& name : report.renamed) note("  understood: " + shown(name, kShownArguments));
  }
  void on_plan(std::span<const agent::Action> actions,
               const std::vector<std::vector<std::size_t>>& waits_for) override {
    base::MutexLock lock(mutex_);
    rows_.clear();
    drawn_.clear();
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
      say(stderr, line_of(*row, kAnyColumns) + "\n");
    }
  }
  void pause() override {
    base::MutexLock lock(mutex_);
    drawn_.clear();  // what was drawn stays, and the next drawing begins below the question
  }
  void on_end(const agent::RunReport& report, const std::vector<std::string>& unsandboxed) override {
    say(stdout, (is_terminal(STDOUT_FILENO) ? safe_for_terminal(report.answer) : report.answer) + "\n");
    const double other = std::max(0.0, report.seconds - report.model_seconds - report.tool_seconds);
    const std::string anew = report.asked_anew > 0 ? fmt::format(" ({} asked anew)", report.asked_anew) : "";
    note(fmt::format("{}: {} turns{}, {} actions{}; {} prompt tokens ({} from the cache), {} new",
                     run_state_name(report.state), report.turns, anew, report.actions,
                     report.invalid_calls > 0 ? fmt::format(", {} calls that were none", report.invalid_calls) : "",
                     report.usage.prompt_tokens, report.usage.cached_tokens, report.usage.completion_tokens));
    note(fmt::format("{:.1f} s: model {:.1f} s, tools {:.1f} s, the rest {:.1f} s", report.seconds,
                     report.model_seconds, report.tool_seconds, other));
    if (!unsandboxed.empty()) note(fmt::format("without a sandbox: {}", fmt::join(unsandboxed, ", ")));
  }

 private:
  struct Row {
    agent::Action action;
    std::string arguments;
    std::vector<std::size_t> waits_for;
  };

  static void note(const std::string& line) { say(stderr, dim(line, STDERR_FILENO) + "\n"); }

  Row* find(std::size_t step) REQUIRES(mutex_) {
    const auto found = std::ranges::find_if(rows_, [&](const Row& row) { return row.action.step == step; });
    return found == rows_.end() ? nullptr : &*found;
  }

  static std::string end_of(const Row& row) {
    const agent::ActionState state = row.action.result.state;
    if (state == agent::ActionState::kWaiting && !row.waits_for.empty()) {
      return fmt::format("  waits for {}", fmt::join(row.waits_for, ", "));
    }
    if (state == agent::ActionState::kWaiting || state == agent::ActionState::kRunning) {
      return fmt::format("  {}", agent::state_name(state));
    }
    return fmt::format("  {} {:.2f} s: {}", agent::state_name(state), row.action.result.seconds,
                       shown(row.action.result.text, kShownResult));
  }

  // What `columns` do not hold is missing from the arguments first: a character is never wider than it has bytes.
  static std::string line_of(const Row& row, std::size_t columns) {
    const std::string begin = fmt::format("  {} {:>2} {} ", sign_of(row.action.result.state), row.action.step,
                                          shown(row.action.call.tool, 40));
    const std::string end = end_of(row);
    const std::size_t room = columns - std::min(columns, begin.size() + end.size());
    const std::string arguments = shown(row.arguments, std::clamp(room, kLeastArguments, kShownArguments));
    return first_columns(begin + arguments + end, columns);
  }

  // Redraws the graph over what it drew before. A row was a line of the screen, or the way back up would be longer; in
  // a terminal that got narrower and breaks its lines anew it may be several by now. One that does not is told not to
  // wrap either (DECAWM), so that a row stays a line there whenever it gets narrower. The last column stays free, as
  // some terminals begin the next line when it is written.
  void draw() REQUIRES(mutex_) {
    const std::size_t columns = terminal_columns(STDERR_FILENO);
    std::size_t up = 0;
    for (const std::string& line : drawn_) up += keeps_lines_ ? 1 : least_lines(line, columns);
    std::string drawing = up > 0 ? fmt::format("\r\033[{}A\033[J", up) : "";
    drawn_.clear();
    for (const Row& row : rows_) {
      drawn_.push_back(line_of(row, columns - 1));
      drawing += drawn_.back() + "\n";
    }
    say(stderr, keeps_lines_ ? "\033[?7l" + drawing + "\033[?7h" : drawing);
  }

  const bool is_moving_;
  const bool keeps_lines_ = cuts_lines();
  base::Mutex mutex_;
  std::vector<Row> rows_ GUARDED_BY(mutex_);
  std::vector<std::string> drawn_ GUARDED_BY(mutex_);  // its lines, as they stand above the cursor
};

}  // namespace

std::unique_ptr<TaskView> make_text_view(bool is_moving) { return std::make_unique<TextView>(is_moving); }

}  // namespace autoglm::app

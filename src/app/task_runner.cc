// SPDX-License-Identifier: Apache-2.0
#include "app/task_runner.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <thread>

#include "agent/approval.h"
#include "app/agent_run.h"
#include "app/interrupt.h"
#include "app/task_view.h"
#include "app/terminal.h"
#include "app/verb.h"
#include "base/log.h"

namespace autoglm::app {
namespace {

// Asks the person at the terminal. Runs on a background thread while the main one waits for the turn.
class Person final {
 public:
  explicit Person(LineInput& input) : input_(input) {}
  /// What is asked next belongs to the run that this view shows, and so does a leave for all.
  void look_at(TaskView& view) {
    view_ = &view;
    allows_all_ = false;
  }
  agent::Decision operator()(const agent::Action&, const json::Object& arguments, const agent::ToolDescription& tool,
                             std::stop_token stop) {
    const bool may_allow_all = tool.approval != agent::Approval::kAlways;
    if (may_allow_all && allows_all_) return {agent::Verdict::kAllow, {}};
    view_->pause();
    // All of the arguments, however long: a yes is one to what was shown. The name comes again where the eye is then.
    const std::string shown = json::format(arguments);
    say(stderr,
        fmt::format("{} ({}) {}\nRun {}? [y]es, [n]o{}: ", tool.name, base::printable(tool.source),
                    base::printable(shown, shown.size()), tool.name, may_allow_all ? ", [a]ll of this run" : ""));
    std::string line;
    if (stop.stop_requested() || input_.next(line) != LineInput::Got::kLine) {
      return {agent::Verdict::kDeny, "the user did not answer"};
    }
    if (may_allow_all && (line == "a" || line == "all")) allows_all_ = true;
    if ((may_allow_all && allows_all_) || line == "y" || line == "yes") return {agent::Verdict::kAllow, {}};
    return {agent::Verdict::kDeny, "the user did not allow it"};
  }

 private:
  LineInput& input_;
  TaskView* view_ = nullptr;
  bool allows_all_ = false;
};

// Turns Ctrl-C into a stop, as long as it lives.
class StopOnInterrupt final {
 public:
  StopOnInterrupt() : watcher_([this](std::stop_token ended) { watch(std::move(ended)); }) {}
  std::stop_token token() const { return source_.get_token(); }

 private:
  void watch(std::stop_token ended) {
    while (!ended.stop_requested() && Interrupts::count() == 0) {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, ended, std::chrono::milliseconds(50), [] { return Interrupts::count() > 0; });
    }
    if (Interrupts::count() > 0) source_.request_stop();
  }

  Interrupts interrupts_;
  std::stop_source source_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread watcher_;
};

// A line of --each.
std::string task_of(std::string line) {
  if (!line.starts_with('"')) return line;
  base::Budget budget({.bytes = kMaxTaskBytes});
  const auto value = json::parse(line, budget);
  return value && value->is_string() ? std::string(value->get_string()) : std::move(line);
}

class Runner final : public TaskRunner {
 public:
  Runner(const RunningModel& running, store::SessionStore& store, const TaskFlags& flags)
      : running_(running),
        generator_(*running.generator),
        store_(store),
        flags_(flags),
        person_(input_),
        tools_(callable_by(generator_.card())) {}
  Status prepare(ConfiguredTools configured);
  Status run(const std::string& task) override;
  Status run_each() override;

 private:
  Status choose_options();
  agent::Approver approver();

  const RunningModel& running_;
  generation::Generator& generator_;
  store::SessionStore& store_;
  const TaskFlags& flags_;
  StopOnInterrupt stop_;
  LineInput input_;
  Person person_;
  agent::RunOptions options_;
  agent::ToolRegistry tools_;
  std::vector<std::string> unsandboxed_;
};

Status Runner::prepare(ConfiguredTools configured) {
  TRY(choose_options());
  TRY(add_configured_tools(tools_, std::move(configured), stop_.token()));
  unsandboxed_ = unsandboxed(tools_);
  return {};
}

Status Runner::choose_options() {
  options_.limits = flags_.limits;
  options_.names = flags_.names == "map" ? agent::NameRule::kMap : agent::NameRule::kMask;
  options_.aids = *agent::parse_aids(flags_.aids);
  options_.sampling.temperature = flags_.temperature;
  options_.format = generator_.card().tool_format;
  auto can_act = check_can_act(generator_.card());
  if (!can_act) can_act.error().where = "--model";
  return can_act;
}

agent::Approver Runner::approver() {
  const bool has_person = !flags_.is_json && is_terminal(STDIN_FILENO) && is_terminal(STDERR_FILENO);
  const auto ask = [this](const auto& action, const auto& arguments, const auto& tool, std::stop_token token) {
    return person_(action, arguments, tool, std::move(token));
  };
  return agent::make_approver(agent::parse_leave(flags_.approve).value_or(agent::Leave::kNone),
                              has_person ? agent::Approver(ask) : agent::Approver());
}

Status Runner::run(const std::string& task) {
  const auto view = flags_.is_json ? make_json_view() : make_text_view(is_terminal(STDERR_FILENO));
  person_.look_at(*view);
  auto ended =
      run_task({generator_, store_, tools_, *running_.clock}, options_, approver(),
               {.text = task, .session = flags_.session, .resume = flags_.resume, .has_memory = flags_.has_memory},
               *view, stop_.token());
  if (!ended) {
    // Programs wait for a run's last event, also for that of one which could not begin.
    if (flags_.is_json)
      view->on_end({.state = agent::RunState::kFailed, .answer = ended.error().message}, unsandboxed_);
    return std::unexpected(std::move(ended).error());
  }
  const agent::RunReport& report = ended->report;
  view->on_end(report, unsandboxed_);
  if (report.state == agent::RunState::kDone) return {};
  const Code code = report.state == agent::RunState::kCancelled ? Code::kCancelled
                    : report.state == agent::RunState::kLimit   ? Code::kExhausted
                                                                : Code::kInternal;
  return fail(code, fmt::format("the task was not finished: {}; `openautoglm task --resume {}` goes on", report.answer,
                                ended->run));
}

Status Runner::run_each() {
  std::size_t count = 0;
  std::size_t failed = 0;
  std::string line;
  LineInput::Got got = LineInput::Got::kEnd;
  while (!stop_.token().stop_requested() && (got = input_.next(line)) == LineInput::Got::kLine) {
    if (line.empty()) continue;
    ++count;
    if (Status done = run(task_of(std::move(line))); !done) {
      ++failed;
      print_error(done.error());
    }
  }
  if (got == LineInput::Got::kInterrupt) return fail(Code::kCancelled, "stopped before the last task");
  if (failed == 0) return {};
  return fail(Code::kInternal, fmt::format("{} of {} tasks were not finished", failed, count));
}

}  // namespace

Status TaskRunner::check(store::SessionStore& store, const TaskFlags& flags) {
  Status good;
  if (flags.resume > 0) {
    if (auto run = agent::resumable_run(store, flags.resume); !run) {
      good = fail(run.error().code, run.error().message, "--resume");
    }
  } else if (!flags.session.empty() && !store::is_session_id(flags.session)) {
    good = fail(Code::kInvalidArgument,
                fmt::format("a session's name has 1 to 64 letters, digits, '-' or '_', and not '{}'",
                            base::printable(flags.session)),
                "--session");
  }
  // Programs wait for a run's last event, also for that of one which could not begin.
  if (!good && flags.is_json) {
    make_json_view()->on_end({.state = agent::RunState::kFailed, .answer = good.error().message}, {});
  }
  return good;
}

Result<std::unique_ptr<TaskRunner>> TaskRunner::make(const RunningModel& running, store::SessionStore& store,
                                                     ConfiguredTools configured, const TaskFlags& flags) {
  auto runner = std::make_unique<Runner>(running, store, flags);
  TRY(runner->prepare(std::move(configured)));
  return runner;
}

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
#include "app/task_runner.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <thread>

#include "agent/action_runner.h"
#include "agent/approval.h"
#include "agent/context_manager.h"
#include "app/interrupt.h"
#include "app/task_view.h"
#include "app/terminal.h"
#include "app/verb.h"
#include "base/log.h"
#include "generation/chat_prompt.h"
#include "generation/collect.h"

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

// Makes every step durable, then shows it.
class Recorder final : public agent::ActionObserver {
 public:
  Recorder(agent::ContextManager& context, TaskView& view) : context_(context), view_(view) {}
  void on_plan(std::span<const agent::Action> actions,
               const std::vector<std::vector<std::size_t>>& waits_for) override {
    view_.on_plan(actions, waits_for);
  }
  Status on_intent(const agent::Action& action, const json::Object& arguments) override {
    TRY(context_.record_intent(action, arguments));
    view_.on_arguments(action, arguments);
    return {};
  }
  void on_state(const agent::Action& action) override {
    if (action.result.state == agent::ActionState::kWaiting || action.result.state == agent::ActionState::kRunning) {
      view_.on_action(action);
    }
  }
  void on_result(const agent::Action& action) override {
    if (auto kept = context_.record_result(action); !kept) {
      LOG_ERROR("step {} ran, but its result could not be kept: {}", action.step, kept.error().message);
    }
    view_.on_action(action);
  }

 private:
  agent::ContextManager& context_;
  TaskView& view_;
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

agent::CountTokens counter(const generation::ModelCard& card, const json::Array& tools) {
  return [&card, &tools](const json::Array& messages) -> Result<std::size_t> {
    return TRY(generation::encode(card, {.messages = &messages, .tools = &tools})).size();
  };
}

// The model's own summary of what no longer fits.
agent::Summarise summariser(generation::Generator& generator) {
  return [&generator](const json::Array& messages, std::size_t max_tokens) -> Result<std::string> {
    const json::Array asked = {
        json::Object{{"role", "user"},
                     {"content",
                      "Summarise this conversation of an agent in a few short lines: what was asked, what was "
                      "done, which results matter.\n\n" +
                          json::format(messages)}}};
    generation::Request request;
    request.id = "summary";
    request.prompt = TRY(generation::encode_without_reasoning(generator.card(), {.messages = &asked}));
    request.sampling.temperature = 0;
    request.max_tokens = max_tokens;
    return TRY(generation::generate(generator, std::move(request))).text;
  };
}

// The session that the flags name, made when it is not there.
Result<std::string> chosen_session(store::SessionStore& store, const TaskFlags& flags) {
  if (flags.resume > 0) {
    const auto run = TRY(store.find_run(flags.resume));
    if (!run) return fail(Code::kNotFound, fmt::format("there is no run {}", flags.resume), "--resume");
    return run->session;
  }
  if (flags.session.empty()) return store.create_session();
  if (TRY(store.find_session(flags.session))) return flags.session;
  return store.create_session(flags.session);
}

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
        tools_(callable_by(generator_.card())) {
    window_.context_tokens = generator_.card().context_length;
    window_.answer_tokens = std::min(flags.limits.max_turn_tokens, window_.context_tokens / 4);
  }
  Status prepare(ConfiguredTools configured);
  Status run(const std::string& task) override;
  Status run_each() override;

 private:
  Status choose_options();
  Result<agent::RunReport> run_in(agent::ContextManager& context, TaskView& view, const std::string& task);
  Result<agent::RunReport> run_with(TaskView& view, const std::string& task);
  agent::Approver approver();

  const RunningModel& running_;
  generation::Generator& generator_;
  store::SessionStore& store_;
  const TaskFlags& flags_;
  StopOnInterrupt stop_;
  LineInput input_;
  Person person_;
  agent::RunOptions options_;
  agent::WindowLimits window_;
  agent::ToolRegistry tools_;
  std::size_t configured_tools_ = 0;  // the first ones; the rest is a session's
  std::vector<std::string> unsandboxed_;
  std::int64_t run_ = 0;      // the last one
  json::Array for_template_;  // filled in when all tools are known, before anything is counted
};

Status Runner::prepare(ConfiguredTools configured) {
  TRY(choose_options());
  TRY(add_configured_tools(tools_, std::move(configured), stop_.token()));
  configured_tools_ = tools_.tools().size();
  unsandboxed_ = unsandboxed(tools_);
  return {};
}

Status Runner::choose_options() {
  options_.limits = flags_.limits;
  options_.names = flags_.names == "map" ? agent::NameRule::kMap : agent::NameRule::kMask;
  options_.aids = *agent::parse_aids(flags_.aids);
  options_.sampling.temperature = flags_.temperature;
  const auto& card = generator_.card();
  if (card.chat_template == nullptr) {
    return fail(Code::kInvalidArgument, "this model has no chat template: an agent needs one", "--model");
  }
  options_.format = card.tool_format;
  return {};
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
  auto report = run_with(*view, task);
  if (!report) {
    // Programs wait for a run's last event, also for that of one which could not begin.
    if (flags_.is_json)
      view->on_end({.state = agent::RunState::kFailed, .answer = report.error().message}, unsandboxed_);
    return std::unexpected(std::move(report).error());
  }
  view->on_end(*report, unsandboxed_);
  if (report->state == agent::RunState::kDone) return {};
  const Code code = report->state == agent::RunState::kCancelled ? Code::kCancelled
                    : report->state == agent::RunState::kLimit   ? Code::kExhausted
                                                                 : Code::kInternal;
  return fail(
      code, fmt::format("the task was not finished: {}; `openautoglm task --resume {}` goes on", report->answer, run_));
}

Result<agent::RunReport> Runner::run_with(TaskView& view, const std::string& task) {
  if (task.size() > kMaxTaskBytes) return fail(Code::kExhausted, "this is more than a task may hold", "TASK");
  const auto session = TRY(chosen_session(store_, flags_));
  const auto context = TRY(agent::ContextManager::open(
      store_, session, window_, counter(generator_.card(), for_template_), summariser(generator_)));
  auto report = run_in(*context, view, task);
  tools_.keep_first(configured_tools_);
  return report;
}

Result<agent::RunReport> Runner::run_in(agent::ContextManager& context, TaskView& view, const std::string& task) {
  const bool has_memory = flags_.has_memory || store::is_chosen_name(context.session());
  for (auto& tool : context.built_in_tools()) {
    if (has_memory || tool->description().is_quiet) TRY(tools_.add(std::move(tool)));
  }
  for_template_ = agent::shown_tools(tools_, options_.format, options_.aids);
  Recorder recorder(context, view);
  const auto runner = agent::make_action_runner(tools_, {}, approver(), recorder, *running_.clock);
  TRY(flags_.resume > 0
          ? context.resume(flags_.resume)
          : context.begin(agent::agent_instructions(tools_, options_.format), task, generator_.card().name));
  view.on_begin(context.run(), context.session());
  auto report =
      TRY(agent::run_agent({generator_, context, tools_, *runner, view, *running_.clock}, options_, stop_.token()));
  run_ = context.run();
  return report;
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

Result<std::unique_ptr<TaskRunner>> TaskRunner::make(const RunningModel& running, store::SessionStore& store,
                                                     ConfiguredTools configured, const TaskFlags& flags) {
  auto runner = std::make_unique<Runner>(running, store, flags);
  TRY(runner->prepare(std::move(configured)));
  return runner;
}

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
// openautoglm task: gives a task to an agent that runs here, in process: model, context, tools, approvals.
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <thread>

#include "agent/action_runner.h"
#include "agent/agent_loop.h"
#include "agent/approval.h"
#include "agent/context_manager.h"
#include "app/chat.h"
#include "app/interrupt.h"
#include "app/line_input.h"
#include "app/running_model.h"
#include "app/task_view.h"
#include "app/terminal.h"
#include "app/tool_flags.h"
#include "app/verb.h"
#include "base/log.h"
#include "generation/chat_prompt.h"
#include "generation/collect.h"
#include "hub/model_folder.h"
#include "store/session_store.h"

namespace autoglm::app {
namespace {

constexpr std::size_t kMaxTaskBytes = 1u << 20;
constexpr std::size_t kListedSessions = 50;

struct TaskFlags {
  EngineFlags engine;
  agent::RunLimits limits;
  std::string task;
  ToolFlags tools;
  std::string session;
  std::int64_t resume = 0;
  std::string approve = "none";
  std::string names = "mask";
  std::string database;
  std::string show;
  float temperature = 0;
  bool is_listing = false;
  bool is_json = false;
  bool has_memory = false;
};

// Asks the person at the terminal. Runs on a background thread while the main one waits for the turn.
class Person final {
 public:
  explicit Person(TaskView& view) : view_(view) {}
  agent::Decision operator()(const agent::Action&, const json::Object& arguments, const agent::ToolDescription& tool,
                             std::stop_token stop) {
    if (allows_all_) return {agent::Verdict::kAllow, {}};
    view_.pause();
    fmt::print(stderr, "{} ({}) {}\nRun it? [y]es, [n]o, [a]ll from now on: ", base::printable(tool.name),
               base::printable(tool.source), base::printable(json::format(arguments), 2000));
    std::fflush(stderr);
    std::string line;
    if (stop.stop_requested() || input_.next(line) != LineInput::Got::kLine) {
      return {agent::Verdict::kDeny, "the user did not answer"};
    }
    if (line == "a" || line == "all") allows_all_ = true;
    if (allows_all_ || line == "y" || line == "yes") return {agent::Verdict::kAllow, {}};
    return {agent::Verdict::kDeny, "the user did not allow it"};
  }

 private:
  TaskView& view_;
  LineInput input_;
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

Result<std::unique_ptr<store::SessionStore>> open_store(const TaskFlags& flags, const base::Clock& clock) {
  std::filesystem::path file = flags.database;
  if (file.empty()) {
    file = TRY(hub::ModelFolder::from_environment()).home() / "sessions.db";
    std::error_code error;
    std::filesystem::create_directories(file.parent_path(), error);
  }
  return store::SessionStore::open(file, clock);
}

Status list_sessions(store::SessionStore& store) {
  for (const store::SessionRow& row : TRY(store.sessions(kListedSessions))) {
    fmt::print("{:<24} {:>4} runs  {}\n", row.id, row.runs, safe_for_terminal(row.title));
  }
  return {};
}

Status show_session(store::SessionStore& store, const std::string& id) {
  if (!TRY(store.find_session(id))) {
    return fail(Code::kNotFound, fmt::format("there is no session {}", base::printable(id)), "--show");
  }
  for (const store::RunRow& run : TRY(store.runs(id))) {
    fmt::print("run {}  {}  {}\n", run.id, run.state, safe_for_terminal(run.task));
    for (const store::StepRow& step : TRY(store.steps(run.id))) {
      fmt::print("  step {} turn {}  {} {}  {}{}\n", step.step, step.turn, safe_for_terminal(step.tool),
                 safe_for_terminal(step.arguments), step.state,
                 step.result ? ": " + safe_for_terminal(*step.result) : std::string());
    }
    if (!run.answer.empty()) fmt::print("  {}\n", safe_for_terminal(run.answer));
  }
  return {};
}

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
    request.prompt = TRY(generation::encode(generator.card(), {.messages = &asked}));
    request.sampling.temperature = 0;
    request.max_tokens = max_tokens;
    return TRY(generation::generate(generator, std::move(request))).text;
  };
}

Result<std::string> task_text(const TaskFlags& flags) {
  if (!flags.task.empty() || flags.resume > 0) return flags.task;
  if (is_terminal(STDIN_FILENO)) {
    return fail(Code::kInvalidArgument, "which task? Give it as an argument or on stdin", "TASK");
  }
  LineInput input;
  std::string text;
  if (!input.rest(text, kMaxTaskBytes)) return fail(Code::kExhausted, "stdin holds more than a task may", "TASK");
  while (text.ends_with('\n')) text.pop_back();
  if (text.empty()) return fail(Code::kInvalidArgument, "which task? stdin is empty", "TASK");
  return text;
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

Result<agent::RunOptions> run_options(const RunningModel& running, const TaskFlags& flags) {
  agent::RunOptions options;
  options.limits = flags.limits;
  options.names = flags.names == "map" ? agent::NameRule::kMap : agent::NameRule::kMask;
  options.sampling.temperature = flags.temperature;
  const auto& card = running.generator->card();
  if (card.chat_template == nullptr) {
    return fail(Code::kInvalidArgument, "this model has no chat template: an agent needs one", "--model");
  }
  options.format = card.tool_format;
  return options;
}

Status run_task(const RunningModel& running, store::SessionStore& store, const std::string& task,
                ConfiguredTools configured, TaskFlags& flags) {
  StopOnInterrupt stop;
  generation::Generator& generator = *running.generator;
  const agent::RunOptions options = TRY(run_options(running, flags));
  agent::ToolRegistry tools;
  json::Array for_template;  // filled in when all tools are known, before anything is counted
  agent::WindowLimits window;
  window.context_tokens = std::min(generator.card().context_length, generator.card().kv_tokens);
  window.answer_tokens = std::min(flags.limits.max_turn_tokens, window.context_tokens / 4);
  const auto session = TRY(chosen_session(store, flags));
  const auto context = TRY(agent::ContextManager::open(store, session, window, counter(generator.card(), for_template),
                                                       summariser(generator)));
  TRY(add_configured_tools(tools, std::move(configured), stop.token()));
  for (auto& tool : context->built_in_tools()) {
    if (flags.has_memory || !flags.session.empty() || tool->description().is_quiet) TRY(tools.add(std::move(tool)));
  }
  for_template = agent::shown_tools(tools, options.format);

  const auto view = flags.is_json ? make_json_view() : make_text_view(is_terminal(STDERR_FILENO));
  Recorder recorder(*context, *view);
  const bool has_person = !flags.is_json && is_terminal(STDIN_FILENO) && is_terminal(STDERR_FILENO);
  auto person = std::make_shared<Person>(*view);
  const auto runner = agent::make_action_runner(
      tools, {},
      agent::make_approver(agent::parse_leave(flags.approve).value_or(agent::Leave::kNone),
                           has_person ? agent::Approver([person](const auto& action, const auto& arguments,
                                                                 const auto& tool, std::stop_token token) {
                             return (*person)(action, arguments, tool, std::move(token));
                           })
                                      : agent::Approver()),
      recorder, *running.clock);
  TRY(flags.resume > 0 ? context->resume(flags.resume)
                       : context->begin(agent::agent_instructions(tools, options.format), task, generator.card().name));
  view->on_begin(context->run(), context->session());
  const agent::RunReport report =
      TRY(agent::run_agent({generator, *context, tools, *runner, *view, *running.clock}, options, stop.token()));
  view->on_end(report);
  if (report.state == agent::RunState::kDone) return {};
  const Code code = report.state == agent::RunState::kCancelled ? Code::kCancelled
                    : report.state == agent::RunState::kLimit   ? Code::kExhausted
                                                                : Code::kInternal;
  return fail(code, fmt::format("the task was not finished: {}; `openautoglm task --resume {}` goes on", report.answer,
                                context->run()));
}

Status task(CLI::App& verb, TaskFlags& flags) {
  TRY(read_settings(verb, flags.engine));
  const base::SystemClock clock;
  const auto store = TRY(open_store(flags, clock));
  if (flags.is_listing) return list_sessions(*store);
  if (!flags.show.empty()) return show_session(*store, flags.show);
  const std::string text = TRY(task_text(flags));
  ConfiguredTools configured = TRY(read_configurations(flags.tools));
  flags.engine.max_batch_size = 4;
  const RunningModel running = TRY(start_model(flags.engine));
  return run_task(running, *store, text, std::move(configured), flags);
}

}  // namespace

void add_task(CLI::App& app) {
  auto* verb = app.add_subcommand("task", "Give a task to an agent that runs here, with the tools that you name");
  auto flags = std::make_shared<TaskFlags>();
  flags->engine.model = "qwen2.5-coder-1.5b";
  flags->engine.log_level = "warn";
  verb->add_option("TASK", flags->task, "What is to be done; without it stdin is read")->type_name("TEXT");
  add_engine_flags(*verb, flags->engine, EngineUse::kAgent);
  add_tool_flags(*verb, flags->tools);
  verb->add_option("--session", flags->session, "Go on in this session, or begin it")->type_name("ID");
  verb->add_flag("--memory", flags->has_memory,
                 "Offer the tools remember and recall; a session that --session names has them always");
  verb->add_option("--resume", flags->resume, "Take up a run that did not end; completed steps are not repeated")
      ->type_name("RUN")
      ->check(CLI::PositiveNumber);
  verb->add_option(
          "--approve", flags->approve,
          "What runs without being asked about: none (reads only), writes, all. Without a terminal the rest is denied")
      ->check(CLI::IsMember({"none", "writes", "all"}))
      ->capture_default_str();
  verb->add_option("--names", flags->names, "Invented tool names: mask = cannot be written, map = are mapped to a tool")
      ->check(CLI::IsMember({"mask", "map"}))
      ->capture_default_str();
  verb->add_option("--temperature", flags->temperature, "0 = the likeliest token")
      ->check(CLI::Range(0.0, 2.0))
      ->capture_default_str();
  verb->add_option("--max-turns", flags->limits.max_turns, "Model answers in a run")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  verb->add_option("--max-actions", flags->limits.max_actions, "Tool calls in a run")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  verb->add_option("--max-tokens", flags->limits.max_completion_tokens, "New tokens in a run")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  verb->add_option_function<int>(
          "--max-seconds", [flags](const int& given) { flags->limits.max_seconds = std::chrono::seconds(given); },
          "Longest time of a run")
      ->check(CLI::Range(1, 86'400))
      ->default_str("600");
  verb->add_flag("--list", flags->is_listing, "List the sessions and exit");
  verb->add_option("--show", flags->show, "Show a session's runs and steps and exit")->type_name("ID");
  verb->add_option("--database", flags->database, "The file of sessions; default: sessions.db in OPENAUTOGLM_HOME")
      ->type_name("FILE");
  verb->add_flag("--json", flags->is_json, "One JSON object a line on stdout (docs/guides/agent.md)");
  set_action(*verb, [verb, flags] { return task(*verb, *flags); });
}

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
// openautoglm task: gives a task to an agent that runs here, in process: model, context, tools, approvals.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "agent/aids.h"
#include "app/chat.h"
#include "app/task_runner.h"
#include "app/terminal.h"
#include "app/tool_flags.h"
#include "app/verb.h"
#include "base/log.h"
#include "hub/model_folder.h"
#include "store/session_store.h"

namespace autoglm::app {
namespace {

constexpr std::size_t kListedSessions = 50;

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

Status task(CLI::App& verb, TaskFlags& flags) {
  TRY(read_settings(verb, flags.engine));
  if (auto aids = agent::parse_aids(flags.aids); !aids) {
    return fail(Code::kInvalidArgument, "--aids: " + aids.error().message, "--aids");
  }
  const base::SystemClock clock;
  const auto store = TRY(open_store(flags, clock));
  if (flags.is_listing) return list_sessions(*store);
  if (!flags.show.empty()) return show_session(*store, flags.show);
  TRY(TaskRunner::check(*store, flags));
  const std::string text = flags.is_each ? "" : TRY(task_text(flags));
  ConfiguredTools configured = TRY(read_configurations(flags.tools));
  flags.engine.max_batch_size = 4;
  const RunningModel running = TRY(start_model(flags.engine));
  const auto runner = TRY(TaskRunner::make(running, *store, std::move(configured), flags));
  return flags.is_each ? runner->run_each() : runner->run(text);
}

}  // namespace

void add_task(CLI::App& app) {
  auto* verb = app.add_subcommand("task", "Give a task to an agent that runs here, with the tools that you name");
  auto flags = std::make_shared<TaskFlags>();
  flags->engine.model = "qwen2.5-coder-1.5b";
  flags->engine.log_level = "warn";
  auto* text = verb->add_option("TASK", flags->task, "What is to be done; without it stdin is read")->type_name("TEXT");
  add_engine_flags(*verb, flags->engine, EngineUse::kAgent);
  add_tool_flags(*verb, flags->tools);
  auto* session = verb->add_option("--session", flags->session, "Go on in this session, or begin it")->type_name("ID");
  verb->add_flag("--memory", flags->has_memory,
                 "Offer the tools remember and recall; a session with a name that you chose has them always");
  auto* resume =
      verb->add_option("--resume", flags->resume, "Take up a run that did not end; completed steps are not repeated")
          ->type_name("RUN")
          ->check(CLI::PositiveNumber)
          ->excludes(text)
          ->excludes(session);
  verb->add_flag("--each", flags->is_each,
                 "Each line of stdin is a task with a session of its own, read when the one before has ended; a line "
                 "that is a JSON string stands for that string")
      ->excludes(text)
      ->excludes(session)
      ->excludes(resume);
  verb->add_option(
          "--approve", flags->approve,
          "What runs without being asked about: none (reads only), writes, all. Without a terminal the rest is denied")
      ->check(CLI::IsMember({"none", "writes", "all"}))
      ->capture_default_str();
  verb->add_option("--names", flags->names, "Invented tool names: mask = cannot be written, map = are mapped to a tool")
      ->check(CLI::IsMember({"mask", "map"}))
      ->capture_default_str();
  verb->add_option(
          "--aids", flags->aids,
          "What is done for small models: all, none, or a list of " + agent::aid_names() + " (docs/guides/agent.md)")
      ->type_name("LIST")
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

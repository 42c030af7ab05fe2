// SPDX-License-Identifier: Apache-2.0
// Runs tasks in this process, one after another: each is a run, in a session of its own unless the flags name one; the
// model, its prefix cache, the tools and the person stay. Main thread.
#pragma once

#include <memory>
#include <string>

#include "agent/agent_loop.h"
#include "app/agent_run.h"
#include "app/line_input.h"
#include "app/running_model.h"
#include "app/tool_flags.h"
#include "store/session_store.h"

namespace autoglm::app {

struct TaskFlags {
  EngineFlags engine;
  agent::RunLimits limits;
  std::string task;
  ToolFlags tools;
  std::string session;
  std::int64_t resume = 0;
  std::string approve = "none";
  std::string names = "mask";
  std::string aids = "all";
  std::string database;
  std::string show;
  float temperature = 0;
  bool is_each = false;
  bool is_listing = false;
  bool is_json = false;
  bool has_memory = false;
};

class TaskRunner {
 public:
  /// Whether the run or session that the flags name can go on: what is known before a model is loaded. Errors:
  /// kNotFound, kInvalidArgument, with the flag's name; told as a run's end with --json.
  static Status check(store::SessionStore& store, const TaskFlags& flags);
  /// Connects to the tool servers. All but `configured` must outlive the runner, during which Ctrl-C stops what runs.
  static Result<std::unique_ptr<TaskRunner>> make(const RunningModel& running, store::SessionStore& store,
                                                  ConfiguredTools configured, const TaskFlags& flags);
  virtual ~TaskRunner() = default;

  /// Runs one task to its end, and shows it.
  ///   Errors   kCancelled, kExhausted (a limit), kInternal: the run did not end by an answer; those of its beginning
  virtual Status run(const std::string& task) = 0;
  /// Each line of stdin is a task, read when the one before has ended; one that is a JSON string stands for that
  /// string. Errors: one for all tasks that failed.
  virtual Status run_each() = 0;
};

}  // namespace autoglm::app

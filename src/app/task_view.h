// SPDX-License-Identifier: Apache-2.0
// What a person or a program sees of an agent's run: on a terminal the action graph live (what runs, what waits, for
// how long, its result in a line), with --json one object a line, else a plain line for each thing that ended. Calls
// come from the run's thread and, for text, from the engine's.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/agent_loop.h"

namespace autoglm::app {

class TaskView : public agent::RunObserver {
 public:
  virtual void on_begin(std::int64_t run, const std::string& session) = 0;
  virtual void on_plan(std::span<const agent::Action> actions,
                       const std::vector<std::vector<std::size_t>>& waits_for) = 0;
  /// The arguments that really run, references resolved.
  virtual void on_arguments(const agent::Action& action, const json::Object& arguments) = 0;
  /// `unsandboxed`: what could be called and does not run in a sandbox, as app/tool_flags.h lists it.
  virtual void on_end(const agent::RunReport& report, const std::vector<std::string>& unsandboxed) = 0;
  /// A question is about to be asked: nothing moves until the next event.
  virtual void pause() = 0;
};

/// For programs: JSON lines (docs/guides/agent.md lists them), on stdout or to `print`, on the run's thread.
std::unique_ptr<TaskView> make_json_view();
std::unique_ptr<TaskView> make_json_view(std::function<void(std::string line)> print);
/// For people: the run on stderr, the answer on stdout. `is_moving` redraws the graph in place.
std::unique_ptr<TaskView> make_text_view(bool is_moving);

}  // namespace autoglm::app

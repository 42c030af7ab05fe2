// SPDX-License-Identifier: Apache-2.0
// Runs the calls of one turn to their ends: the action scheduler with real threads, one for each tool at work. What a
// run wants to know of it, and whom it asks, come in as an observer and an approver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "agent/action_scheduler.h"

namespace autoglm::agent {

// What a run does with what happens. All calls come on the thread that called run_turn().
class ActionObserver {
 public:
  virtual ~ActionObserver() = default;
  /// First of all: the turn's actions, and the steps of this turn that each waits for. For displays.
  virtual void on_plan(std::span<const Action> /*actions*/,
                       const std::vector<std::vector<std::size_t>>& /*waits_for*/) {}
  /// Before anything of the action happens: its intent must be durable when this returns. An error refuses the action
  /// with that reason. `arguments` are what will be run, references resolved.
  virtual Status on_intent(const Action& action, const json::Object& arguments) = 0;
  virtual void on_state(const Action& action) = 0;  // for displays
  /// After it: to be made durable before the model sees it.
  virtual void on_result(const Action& action) = 0;
};

/// Asked for each action whose tool wants it, with the arguments that will be run; one question at a time, on a
/// background thread. May block (a person decides), but returns soon after `stop` was requested.
using Approver = std::function<Decision(const Action& action, const json::Object& arguments,
                                        const ToolDescription& tool, std::stop_token stop)>;

// What a run has left for a turn, where that is less than the runner's own limits.
struct TurnBounds {
  std::size_t max_actions = SIZE_MAX;
  std::optional<base::Duration> max_time;
};

// One run's; one turn at a time. Its end waits for tools that were given up.
class ActionRunner {
 public:
  virtual ~ActionRunner() = default;
  /// Blocks until every call has its result, which come back in call order. `earlier` are the run's finished actions,
  /// whose results references may name; the new ones are numbered on from them. When `stop` is requested, what runs is
  /// stopped and what waits is kCancelled; so it is when the time is over.
  virtual std::vector<Action> run_turn(std::vector<ActionCall> calls, std::span<const Action> earlier,
                                       std::stop_token stop, const TurnBounds& bounds = {}) = 0;
};

/// All must outlive the runner.
std::unique_ptr<ActionRunner> make_action_runner(const ToolRegistry& tools, const ActionLimits& limits,
                                                 Approver approver, ActionObserver& observer, const base::Clock& clock);

}  // namespace autoglm::agent

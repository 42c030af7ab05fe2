// SPDX-License-Identifier: Apache-2.0
// Runs the calls of one turn: checks them, orders them by what they depend on, asks for approval, runs what can run at
// once within bounds, retries, times out, cancels. Results come back in call order, and every call has one: errors are
// results too. The decisions are a state machine without threads or waiting, so that a simulation can run it on a
// virtual clock; ActionRunner drives it with real threads.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/action.h"
#include "agent/tool_registry.h"
#include "base/clock.h"

namespace autoglm::agent {

struct ActionLimits {
  std::size_t max_running = 8;                 // actions of a turn at one time
  std::size_t max_result_bytes = 1u << 20;     // of one action; more is cut, and the result says so
  std::chrono::milliseconds stop_grace{2000};  // after a timeout or cancel; then the action is given up
};

enum class Verdict { kAllow, kDeny };

// What a run does with what happens. All calls come on the thread that called run_turn().
class ActionObserver {
 public:
  virtual ~ActionObserver() = default;
  /// Before anything of the action happens: its intent must be durable when this returns. An error denies the action
  /// with that reason. `arguments` are what will be run, references resolved.
  virtual Status on_intent(const Action& action, const json::Object& arguments) = 0;
  virtual void on_state(const Action& action) = 0;  // for displays
  /// After it: to be made durable before the model sees it.
  virtual void on_result(const Action& action) = 0;
};

/// Asked for each action whose tool wants it. May block (a person decides); a denial's reason goes to the model.
struct Decision {
  Verdict verdict = Verdict::kDeny;
  std::string reason;
};
using Approver = std::function<Decision(const Action& action, const ToolDescription& tool)>;

class ActionRunner {
 public:
  virtual ~ActionRunner() = default;
  /// Runs the calls of one turn to their ends. `earlier` are the run's finished actions, whose results references may
  /// name; the new ones are numbered on from them. Blocks; returns early, with kCancelled for what had not ended, when
  /// `stop` is requested.
  virtual std::vector<Action> run_turn(std::vector<ActionCall> calls, std::span<const Action> earlier,
                                       std::stop_token stop) = 0;
};

std::unique_ptr<ActionRunner> make_action_runner(const ToolRegistry& tools, const ActionLimits& limits,
                                                 Approver approver, ActionObserver& observer, const base::Clock& clock);

}  // namespace autoglm::agent

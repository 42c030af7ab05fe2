// SPDX-License-Identifier: Apache-2.0
// Decides about the calls of one turn: checks them, orders them by what they depend on, asks for approval, starts what
// may run at once within bounds, retries, times out, stops. Every call gets exactly one result: errors are results too.
// A state machine without threads or waiting: it hands out commands and is told what came of them, so that a simulation
// can run it on a virtual clock; agent/action_runner.h drives it with real threads. One thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/action.h"
#include "agent/tool_registry.h"
#include "base/clock.h"

namespace autoglm::agent {

struct ActionLimits {
  std::size_t max_actions = 32;                // of a turn; the calls beyond are refused
  std::optional<base::Duration> max_time;      // of a turn; then what runs is stopped and what waits does not begin
  std::size_t max_running = 8;                 // of a turn at one time
  std::size_t max_result_bytes = 1u << 20;     // of one action; more is cut, and the result says so
  std::chrono::milliseconds stop_grace{2000};  // after a timeout or cancel; then the action is given up
  std::chrono::milliseconds retry_delay{250};  // before the first retry; doubles
  bool has_references = true;                  // false: "$step_1" is a text like any other
};

enum class Verdict : std::uint8_t { kAllow, kDeny };

// An answer to the question whether an action may run; a denial's reason goes to the model.
struct Decision {
  Verdict verdict = Verdict::kDeny;
  std::string reason;
};

class ActionScheduler final {
 public:
  struct Command {
    enum class Kind : std::uint8_t {
      kAsk,    // ask for approval, then decide(). One question at a time
      kStart,  // run tool(index) with arguments(index), then end(). attempt > 1 = again, its intent is recorded already
      kStop,   // ask the running attempt to stop; end() is still awaited for the grace
      kEnded,  // action(index) has its result
    };
    Kind kind = Kind::kEnded;
    std::size_t index = 0;
    std::size_t attempt = 0;
  };

  /// `earlier`: the run's finished actions, whose results references may name; the new ones are numbered on from them.
  /// `tools` and `earlier` must outlive this.
  ActionScheduler(const ToolRegistry& tools, const ActionLimits& limits, std::vector<ActionCall> calls,
                  std::span<const Action> earlier, const base::Clock& clock);

  /// What is to be done now, each once. To be called again after anything below was, and at next_time().
  std::vector<Command> next();

  void decide(std::size_t index, Decision decision);
  /// Instead of running what kStart named.
  void refuse(std::size_t index, Error error);
  /// What came of an attempt. Of an attempt that was given up, or ended before: counted and ignored.
  void end(std::size_t index, std::size_t attempt, Result<ToolOutput> outcome);
  /// Nothing more is started; what runs is stopped.
  void stop() { stop("the run was cancelled"); }
  /// From now on no write or external call is started, because one that could not be stopped may still be running.
  void block_writes(std::string reason);

  bool is_done() const;
  /// When something happens by itself: a timeout, the end of a grace, a retry.
  std::optional<base::Time> next_time() const;

  std::size_t size() const { return actions_.size(); }
  const Action& action(std::size_t index) const { return actions_[index]; }
  const std::vector<Action>& actions() const { return actions_; }
  const json::Object& arguments(std::size_t index) const { return entries_[index].arguments; }
  Tool& tool(std::size_t index) const { return *entries_[index].tool; }
  /// The steps that each action waits for, of this turn: the graph.
  std::vector<std::vector<std::size_t>> graph() const;
  std::size_t ignored_ends() const { return ignored_ends_; }

 private:
  enum class Phase : std::uint8_t {
    kWaiting,   // for other actions
    kAsking,    // its question is out
    kApproved,  // for room
    kRunning,
    kStopping,  // asked to stop, in its grace
    kResting,   // before a retry
    kEnded,
  };
  struct Entry {
    Tool* tool = nullptr;
    Phase phase = Phase::kWaiting;
    bool is_checked = false;  // references resolved, schema satisfied
    std::vector<std::size_t> waits_for;
    json::Object arguments;  // resolved
    std::size_t attempt = 0;
    bool is_attempt_running = false;  // also after it was given up
    base::Time began{};               // of the first attempt
    base::Time until{};               // kRunning: timeout; kStopping: end of the grace; kResting: retry
    ActionState stop_state = ActionState::kCancelled;
  };

  void plan(std::size_t index);
  void stop(std::string_view why);
  void settle_time();
  void settle_waiting(std::size_t index);
  void settle_approved(std::size_t index);
  Status check(std::size_t index);
  void begin_stop(std::size_t index, ActionState state);
  void give_up(std::size_t index);
  void finish(std::size_t index, ActionState state, std::string_view text);

  const ToolRegistry& tools_;
  const ActionLimits limits_;
  const std::span<const Action> earlier_;
  const base::Clock& clock_;
  const std::optional<base::Time> deadline_;
  std::vector<Action> actions_;
  std::vector<Entry> entries_;
  std::vector<Command> commands_;
  std::string stop_reason_;
  std::string block_reason_;
  bool is_asking_ = false;
  bool is_stopping_ = false;
  std::size_t ignored_ends_ = 0;
};

}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
// The context manager: what of a session the model sees, and what of a run outlives its process. Every turn, intent and
// result is in the store before the run goes on, so that a run can be taken up where it was killed; the window
// (agent/window.h) is assembled from them. One run, on its thread; built-in tools on any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/action.h"
#include "agent/tool.h"
#include "agent/window.h"
#include "base/json.h"
#include "base/result.h"
#include "store/session_store.h"

namespace autoglm::agent {

/// A run that can be taken up, looked at before anything that it needs is there. Errors: kNotFound, kInvalidArgument
/// (done, given up, or not the newest of its session), those of the store.
Result<store::RunRow> resumable_run(store::SessionStore& store, std::int64_t run);

class ContextManager {
 public:
  virtual ~ContextManager() = default;

  /// Takes up a session of the store: its messages and actions are read, and it is this object's alone until that goes.
  /// An action that was begun and has no result becomes kUnknown for good: its process is gone.
  ///   Errors   kNotFound (no such session), kUnavailable (another run has it), kInvalidArgument (limits that leave no
  ///            room), kCorrupt, those of the store
  static Result<std::unique_ptr<ContextManager>> open(store::SessionStore& store, std::string session,
                                                      const WindowLimits& limits, CountTokens count,
                                                      Summarise summarise);

  /// Begins a run with the user's task; notes that share words with it are put before it. The system text is pinned; it
  /// must not change within a session that wants its prefix reused. A run that was killed is closed for good.
  /// Errors: kExhausted (system text, tools and task do not fit).
  virtual Status begin(const std::string& system, const std::string& task, const std::string& model) = 0;
  /// Takes the session's newest run up again, as long as it is not done. See answer() and unbegun_calls() for what is
  /// left of the turn that it was in. Errors: kNotFound, kInvalidArgument (done, or not the newest).
  virtual Status resume(std::int64_t run) = 0;

  /// The messages for the next turn: within the budget; begins with the last window unless old turns had to go. Calls
  /// of the last turn that have no result get one: that nothing was run.
  virtual Result<json::Array> window() = 0;

  /// What the model said: its text, and the calls that it asked for.
  virtual Status add_turn(const std::string& text, const std::vector<ActionCall>& calls) = 0;
  /// Results of the turn's calls. They join the conversation in call order, when the turn has them all.
  virtual Status add_results(const std::vector<Action>& actions) = 0;
  /// A word of the loop to the model, between turns.
  virtual Status add_remark(const std::string& text) = 0;
  virtual Status end(std::string_view state, const std::string& answer) = 0;

  virtual std::int64_t run() const = 0;
  virtual const std::string& session() const = 0;
  virtual const std::string& task() const = 0;             // of this run, without the notes that the model gets with it
  virtual bool is_first_run() const = 0;                   // of the session: the task refers to nothing before it
  virtual const std::vector<Action>& actions() const = 0;  // of the session, ended, by step
  virtual std::size_t turns() const = 0;                   // of this run
  virtual std::size_t compactions() const = 0;             // so many windows did not begin with the one before

  /// What the last turn said, when it asked for nothing: a resumed run that has an answer only needs its end.
  virtual const std::optional<std::string>& answer() const = 0;
  /// Calls of the last turn that were never begun: a resumed run may run them and add their results.
  virtual std::vector<ActionCall> unbegun_calls() const = 0;
  /// Whether a call of this run's last turn that called anything has an error as its result.
  virtual bool last_calls_failed() const = 0;

  /// The journal's side of an action, for the run's ActionObserver: durable when it returns.
  virtual Status record_intent(const Action& action, const json::Object& arguments) = 0;
  virtual Status record_result(const Action& action) = 0;

  /// read_result, remember, recall. They outlive this object, but not the store.
  virtual std::vector<std::unique_ptr<Tool>> built_in_tools() = 0;
};

}  // namespace autoglm::agent

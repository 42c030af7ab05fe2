// SPDX-License-Identifier: Apache-2.0
// The context manager: what of a session the model sees. Assembles the messages of the next turn under a token budget:
// pinned system text and tools first and byte-stable, then what memory offers, then the newest turns; a long tool
// result is clipped with a reference by which the model can ask for the rest; the oldest turns are compacted into a
// summary. One run's thread.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/action.h"
#include "agent/tool.h"
#include "base/json.h"
#include "base/result.h"
#include "store/session_store.h"

namespace autoglm::agent {

struct WindowLimits {
  std::size_t context_tokens = 4096;  // prompt and answer together
  std::size_t answer_tokens = 1024;   // kept free for the answer
  std::size_t result_tokens = 1024;   // most of one tool result in the window; the rest by read_result
  std::size_t memory_tokens = 256;    // of what memory offers
  double compact_above = 0.85;        // share of the prompt's room at which old turns are summarised
};

/// Tokens of a rendered conversation, tools and template included.
using CountTokens = std::function<Result<std::size_t>(const json::Array& messages)>;
/// A summary of old messages, written by the model.
using Summarise = std::function<Result<std::string>(const json::Array& messages, std::size_t max_tokens)>;

class ContextManager {
 public:
  virtual ~ContextManager() = default;

  /// A run on a session of the store, new or continued: earlier messages and steps are read.
  static Result<std::unique_ptr<ContextManager>> open(store::SessionStore& store, std::string session,
                                                      const WindowLimits& limits, CountTokens count,
                                                      Summarise summarise);

  /// Begins a run with the user's task. The system text is pinned; it must not change within a session that wants its
  /// prefix reused.
  virtual Status begin(const std::string& system, const std::string& task, const std::string& model) = 0;
  /// Takes a killed run up again: its messages, and the actions that had completed. A begun action without a result is
  /// kUnknown: the model is told so, and it is not repeated by itself.
  virtual Status resume(std::int64_t run) = 0;

  /// The messages for the next turn: within the budget, a prefix of the next window wherever possible.
  virtual Result<json::Array> window() = 0;

  /// What the model said: its text, and the calls that it asked for, as the template wants them.
  virtual Status add_turn(const std::string& text, const std::vector<ActionCall>& calls) = 0;
  /// The turn's results, in call order, clipped to their share.
  virtual Status add_results(const std::vector<Action>& actions) = 0;
  /// A word of the loop to the model, between turns.
  virtual Status add_remark(const std::string& text) = 0;
  virtual Status end(std::string_view state, const std::string& answer) = 0;

  virtual std::int64_t run() const = 0;
  virtual const std::string& session() const = 0;
  virtual const std::vector<Action>& actions() const = 0;  // of this run, finished, by step
  virtual std::size_t turns() const = 0;

  /// The journal's side of an action: to be called by the run's ActionObserver.
  virtual Status record_intent(const Action& action, const json::Object& arguments) = 0;
  virtual Status record_result(const Action& action) = 0;

  /// read_result (by range or search), remember, recall. Valid while this object lives.
  virtual std::vector<std::unique_ptr<Tool>> built_in_tools() = 0;
};

}  // namespace autoglm::agent

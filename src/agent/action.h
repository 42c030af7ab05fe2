// SPDX-License-Identifier: Apache-2.0
// One tool call on its way: what the model asked for, what ran, what came of it. Plain values.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace autoglm::agent {

// As the model wrote it.
struct ActionCall {
  std::string id;                 // names the call in the conversation: "call_1"
  std::string tool;               // the name, which may be of no tool
  json::Object arguments;         // may hold references to results of earlier steps: "$step_2.path[0].to"
  std::optional<Error> unusable;  // the text could not be read as a call; the reason goes back to the model
};

/// Whether they ask for the same; their ids may differ.
bool is_same_call(const ActionCall& one, const ActionCall& other);

enum class ActionState {
  kWaiting,  // for another action's result, for room, or for an approval
  kRunning,
  kDone,
  kFailed,  // refused before it ran, could not run, or the tool reports an error
  kDenied,  // not approved
  kTimedOut,
  kCancelled,
  kUnknown,  // begun by a process that died: whether it had its effect is not known
};

std::string_view state_name(ActionState state);

// What goes back to the model.
struct ActionResult {
  ActionState state = ActionState::kDone;
  std::string text;  // UTF-8; not yet clipped to the window's share
  double seconds = 0;
  bool is_error() const { return state != ActionState::kDone; }
};

// One action of a run. `step` counts from 1 through the whole run; "$step_N" names its result.
struct Action {
  std::size_t step = 0;
  ActionCall call;
  ActionResult result;
};

}  // namespace autoglm::agent

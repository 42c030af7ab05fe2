// SPDX-License-Identifier: Apache-2.0
#include "agent/action.h"

namespace autoglm::agent {

bool is_same_call(const ActionCall& one, const ActionCall& other) {
  return one.tool == other.tool && one.arguments == other.arguments;
}

std::string_view state_name(ActionState state) {
  switch (state) {
    case ActionState::kWaiting:
      return "waiting";
    case ActionState::kRunning:
      return "running";
    case ActionState::kDone:
      return "done";
    case ActionState::kFailed:
      return "failed";
    case ActionState::kDenied:
      return "denied";
    case ActionState::kTimedOut:
      return "timed_out";
    case ActionState::kCancelled:
      return "cancelled";
    case ActionState::kUnknown:
      return "unknown";
  }
  return "unknown";
}

}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
// Who says yes: what was approved for a whole run beforehand, else a person, else nobody. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "agent/action_runner.h"

namespace autoglm::agent {

// What a run was given leave for from the start (--approve).
enum class Leave : std::uint8_t { kNone, kWrites, kAll };

/// "none", "writes", "all".
std::optional<Leave> parse_leave(std::string_view name);

/// Asks `person` about what the leave does not cover and what is always asked; without a person those are denied, with
/// a reason that tells what would have allowed it.
Approver make_approver(Leave leave, Approver person);

}  // namespace autoglm::agent

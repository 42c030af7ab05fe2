// SPDX-License-Identifier: Apache-2.0
// References between steps: an argument "$step_2.path[0].to" stands for a part of step 2's result, so that a model
// need not copy long values. A string that is nothing but one reference takes the value with its type; "${step_2.name}"
// within a longer string is replaced by text. "$$" is a dollar sign. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "agent/action.h"
#include "base/json.h"

namespace autoglm::agent {

/// The steps that `arguments` refer to, rising, each once: what an action depends on. A text that only looks like a
/// reference to no step is none.
std::vector<std::size_t> steps_named(const json::Object& arguments);

/// `arguments` with every reference replaced. A result that is JSON can be walked by names and indices; any other is
/// one string ("$step_2" or "$step_2.text").
///   Errors   kInvalidArgument with the argument's place in Error::where (no such step yet, a step that failed, no such
///            part: the parts that are there are named), kExhausted (the values are too large)
Result<json::Object> resolve(const json::Object& arguments, std::span<const Action> earlier);

}  // namespace autoglm::agent

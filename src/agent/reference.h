// SPDX-License-Identifier: Apache-2.0
// References between steps: an argument "$step_2.path[0].to" stands for a part of step 2's result, so that a model
// need not copy long values. A string that is nothing but one reference takes the value with its type; "${step_2.name}"
// within a longer string is replaced by text. "$$step_2" is the text "$step_2"; every other dollar sign is itself.
// Names with other characters than letters, digits, '_' and '-' are written ["like this"]. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "agent/action.h"
#include "base/json.h"

namespace autoglm::agent {

/// The steps that `arguments` refer to, rising, each once: what an action depends on. A text that only looks like a
/// reference ("$stepping", "$step_1_old") is none.
std::vector<std::size_t> steps_named(const json::Object& arguments);

/// `arguments` with every reference replaced. A result that is JSON can be walked by names and indices; any other is
/// one string ("$step_2" or "$step_2.text"). Where `parameters`, the tool's schema, wants a string, a value of another
/// type becomes its text; the whole of a result is then the text as the tool gave it.
///   Errors   kInvalidArgument with the argument's place in Error::where (no such step, a step that did not succeed, no
///            such part: the parts that are there are named; "$step_2" within a longer text), kExhausted (the values
///            are too large)
Result<json::Object> resolve(const json::Object& arguments, std::span<const Action> earlier,
                             const json::Object& parameters = {});

/// The same where the earlier actions lie in more places than one; null = no such step before this one.
using FindStep = std::function<const Action*(std::size_t step)>;
Result<json::Object> resolve(const json::Object& arguments, const FindStep& find_step, const json::Object& parameters);

}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
// A question to the model that its own likelihood answers with one word under grammar. Small models judge their task
// much more surely than they act on it. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "generation/generator.h"

namespace autoglm::agent {

/// `question` as a user's message behind `messages`, of which the last may be the user's too; `tools` as the template
/// shows them, or null. To be submitted with whatever names and deadline the caller gives.
/// Errors: as generation::encode() and text::Grammar::from_lark().
Result<generation::Request> yes_no_question(const generation::ModelCard& card, json::Array messages,
                                            const json::Array* tools, const std::string& question);

/// Anything but a whole word is neither.
bool says_yes(std::string_view answer);
bool says_no(std::string_view answer);

}  // namespace autoglm::agent

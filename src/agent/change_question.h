// SPDX-License-Identifier: Apache-2.0
// Whether a task asks to change something, by the model's own likelihood: one word under grammar, asked before a run
// begins. Small models answer this much more surely than they keep their hands off a tool that is offered. Blocks the
// calling thread.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "generation/generator.h"

namespace autoglm::agent {

/// The longest task that is asked about: what is longer may hold anything.
inline constexpr std::size_t kMaxQuestionBytes = 4000;

/// The question about a task of at most kMaxQuestionBytes, to be submitted with whatever names and deadline the caller
/// gives. Errors: as generation::encode() and text::Grammar::from_lark().
Result<generation::Request> change_question(const generation::ModelCard& card, const std::string& task);
/// Whether an answer to it says that the task changes something; when in doubt it does.
bool says_change(std::string_view answer);

}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
// What the loop does so that small models can be agents, each of it by a name under which it can be left out. Plain
// values.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace autoglm::agent {

struct Aids {
  bool narrow = true;     // a task that only asks is not given tools that change something
  bool sources = true;    // what the task names is looked at first, paths are mended; nothing is changed beside a read
  bool repeats = true;    // a call whose result stands in the conversation is not made again, nor one twice in a turn
  bool lists = true;      // a list in a call and the answer have an end; a text to look for is not empty
  bool reasoning = true;  // the answer begins with a line of reasoning
  bool check = true;      // the model says when its results are enough for an answer; twice it may be wrong
  bool failures = true;   // an answer right after a failed action is questioned once
};

/// "all", "none", or some of "narrow,sources,repeats,lists,reasoning,check,failures". Errors: kInvalidArgument.
Result<Aids> parse_aids(std::string_view list);
/// Their names, as parse_aids() takes them: "narrow, sources, ...".
std::string aid_names();

}  // namespace autoglm::agent

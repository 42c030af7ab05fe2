// SPDX-License-Identifier: Apache-2.0
// Small models invent names for what they mean: `create_file{path, content}` where the tool is `write_file`. Finds the
// tool that a call means, by its name, the words in it and the shape of its arguments. Never guesses between two that
// fit equally well. Pure functions; any thread.
#pragma once

#include <string>
#include <vector>

#include "agent/action.h"
#include "agent/tool_registry.h"

namespace autoglm::agent {

struct Mapping {
  ActionCall call;          // with the tool's own name and argument names, where one was found
  bool is_renamed = false;  // the name was no tool's
};

/// The call as the registry knows it. A name that is a tool's stays as it is. Otherwise the tool whose required
/// arguments are all there and that takes all that are given; among several the one whose name shares most words with
/// the invented one, synonyms counted; arguments may be renamed by the same words. Without a single best one the call
/// is unchanged.
Mapping map_call(ActionCall call, const ToolRegistry& tools);

/// The names of the tools nearest to one that is none, best first, for a message to the model.
std::vector<std::string> near_tools(std::string_view name, const ToolRegistry& tools, std::size_t most);

}  // namespace autoglm::agent

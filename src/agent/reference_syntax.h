// SPDX-License-Identifier: Apache-2.0
// The spelling of references between steps, apart from what they stand for. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace autoglm::agent {

// One step of a path: ".name" or "[0]".
using PathPart = std::variant<std::string, std::size_t>;

struct Reference {
  std::size_t step = 0;
  std::vector<PathPart> path;
  bool is_braced = false;   // "${step_2}", as it must be within a longer text
  bool is_escaped = false;  // "$$step_2": the text "$step_2"
  std::size_t begin = 0;    // where it stands in its text
  std::size_t size = 0;
  std::string spelling;  // as it stands there
};

/// All references of a text, in order. What is not quite one ("${step_2.}", "$step_") is left out.
std::vector<Reference> references_in(std::string_view text);

/// ".path[0].to", for messages.
std::string format_path(const std::vector<PathPart>& path);

}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
// Runs a program to its end: gives it an input, takes its output, stops it when asked. Blocks its thread.
#pragma once

#include <cstddef>
#include <stop_token>
#include <string>

#include "agent/tools/child.h"
#include "base/result.h"

namespace autoglm::agent {

struct ProgramEnd {
  int exit_code = 0;  // 128 + signal when a signal ended it
  std::string output;
  std::string complaints;  // the last 4 KiB of its stderr
};

/// What the program starts in its process group ends with it.
///   Errors   kNotFound, kUnavailable (cannot be started), kCancelled, kExhausted (more output than `max_output_bytes`)
Result<ProgramEnd> run_program(const ChildOptions& options, std::string_view input, std::size_t max_output_bytes,
                               std::stop_token stop);

}  // namespace autoglm::agent

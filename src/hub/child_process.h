// SPDX-License-Identifier: Apache-2.0
// Runs a program, without a shell, and waits for it. For pip and for taking a file out of a wheel. Blocks its thread.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace autoglm::hub {

struct ChildProcess {
  std::vector<std::string> arguments;                 // [0] is looked up in PATH
  std::filesystem::path folder;                       // where it runs
  std::vector<std::string> environment;               // "NAME=VALUE" over ours
  std::function<Status(std::string_view)> on_output;  // its stdout; an error ends it. Empty = stdout joins the tail
  std::function<void()> on_tick;                      // a few times a second; may be empty
  std::function<bool()> is_cancelled;                 // may be empty
};

struct ChildEnd {
  int exit_code = 0;  // 128 + signal when a signal ended it
  std::string tail;   // the last 4 KiB of what it said
};

/// Errors: kNotFound (no such program), kCancelled, kInternal, and what on_output returns. The child never outlives the
/// call.
Result<ChildEnd> run_child(const ChildProcess& child);

}  // namespace autoglm::hub

// SPDX-License-Identifier: Apache-2.0
// The command line that runs a program within bounds: bubblewrap for what it can see and reach, rlimits for what it can
// use. What the sandbox is and is not: docs/guides/tools.md. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace autoglm::agent {

// What a program may use. Of each process, but for `processes`.
struct ProcessLimits {
  std::uint64_t cpu_seconds = 60;
  std::uint64_t memory_bytes = 4ull << 30;  // of address space; 0 = no bound
  std::uint64_t file_bytes = 256ull << 20;  // of one file, and of the private /tmp
  std::uint64_t open_files = 256;
  std::uint64_t processes = 64;  // within the sandbox
};

// What it may see beside the system's programs and libraries.
struct SandboxOptions {
  bool is_on = true;
  bool has_network = false;
  std::vector<std::filesystem::path> readable;
  std::vector<std::filesystem::path> writable;
  std::filesystem::path folder;  // where it runs; empty = the first writable or readable one, else the private /tmp
  std::string system_path = "/usr/local/bin:/usr/bin:/bin";  // where bubblewrap and prlimit are looked up
};

/// The whole command line for `arguments`, whose program is looked up in `path`.
///   Errors   kNotFound (the program; a folder that is to be seen), kPermissionDenied (no bubblewrap, and is_on),
///            kUnavailable (no prlimit)
Result<std::vector<std::string>> sandboxed(const std::vector<std::string>& arguments, const std::string& path,
                                           const SandboxOptions& options, const ProcessLimits& limits);

}  // namespace autoglm::agent

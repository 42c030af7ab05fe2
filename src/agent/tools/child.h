// SPDX-License-Identifier: Apache-2.0
// A program in a process group of its own, without a shell, with pipes to its three standard streams, which never
// block. It gets nothing of ours: no descriptors, no environment but what is given. It never outlives this object, and
// neither does what it started in its group. One thread.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace autoglm::agent {

struct ChildOptions {
  std::vector<std::string> arguments;    // [0] is looked up in the PATH of `environment`
  std::vector<std::string> environment;  // "NAME=VALUE", all of it
  std::filesystem::path folder;          // where it runs; empty = here
};

class Child final {
 public:
  /// Errors: kNotFound (no such program), kUnavailable (cannot be started).
  static Result<std::unique_ptr<Child>> start(const ChildOptions& options);
  ~Child();  // kills the group
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  int input() const { return input_; }            // to its stdin
  int output() const { return output_; }          // from its stdout
  int complaints() const { return complaints_; }  // from its stderr
  int exit_signal() const { return pid_file_; }   // readable when it has ended

  void close_input();
  /// Asks the group to end (SIGTERM).
  void terminate();
  /// Ends the group at once, if it has not ended; its exit code, 128 + signal when a signal ended it.
  int kill_and_wait();

 private:
  Child() = default;
  pid_t pid_ = -1;
  int exit_code_ = -1;
  int input_ = -1;
  int output_ = -1;
  int complaints_ = -1;
  int pid_file_ = -1;
};

/// Where execvp would find `program` with this PATH; empty when nowhere.
std::filesystem::path find_program(const std::string& program, std::string_view path);

/// Writes what fits now: the bytes taken, 0 when the pipe is full. Never raises SIGPIPE. Errors: kUnavailable (the
/// other side is closed).
Result<std::size_t> write_some(int pipe, std::string_view bytes);

}  // namespace autoglm::agent

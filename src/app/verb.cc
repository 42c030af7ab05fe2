// SPDX-License-Identifier: Apache-2.0
#include "app/verb.h"

#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/log.h"

namespace autoglm::app {
namespace {

constexpr int kFailed = 1;
constexpr int kUsedWrongly = 2;

int g_exit_code = 0;

bool is_of_command_line(const std::string& where) {
  return where.starts_with("--") || where == "MODEL" || where == "TASK" || where == "NAME" || where == "FILE";
}

}  // namespace

void print_error(const Error& error) {
  std::fprintf(stderr, "openautoglm: %s\n", base::printable(error.message, 4000).c_str());
}

void set_action(CLI::App& verb, std::function<Status()> action) {
  verb.callback([action = std::move(action)] {
    const Status status = action();
    if (status) return;
    std::fflush(stdout);
    print_error(status.error());
    if (g_exit_code == 0) g_exit_code = is_of_command_line(status.error().where) ? kUsedWrongly : kFailed;
  });
}

bool is_stdout_written() {
  const bool is_written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (is_written || errno != EINTR) return is_written;
  std::clearerr(stdout);  // a signal came in between, and the reader is still there
  return true;
}

int exit_code() { return g_exit_code; }

}  // namespace autoglm::app

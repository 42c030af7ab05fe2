// SPDX-License-Identifier: Apache-2.0
#include "hub/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

extern char** environ;

namespace autoglm::hub {
namespace {

constexpr std::size_t kTailBytes = 4096;
constexpr int kTickMs = 200;

class Pipe final {
 public:
  Pipe() { is_open_ = pipe2(ends_.data(), O_CLOEXEC) == 0; }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  bool is_open() const { return is_open_; }
  int end(int which) const { return ends_[static_cast<std::size_t>(which)]; }
  void close_end(int which) {
    int& fd = ends_[static_cast<std::size_t>(which)];
    if (is_open_ && fd >= 0) close(fd);
    fd = -1;
  }

 private:
  std::array<int, 2> ends_{-1, -1};
  bool is_open_ = false;
};

// The child's environment: ours, with the changes in place of what they change.
std::vector<std::string> merged_environment(const std::vector<std::string>& changes) {
  std::vector<std::string> merged = changes;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string_view name = text.substr(0, text.find('=') + 1);
    bool is_changed = false;
    for (const auto& change : changes) is_changed = is_changed || change.starts_with(name);
    if (!is_changed) merged.emplace_back(text);
  }
  return merged;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (auto& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

Result<pid_t> spawn(const ChildProcess& child, const Pipe& output, const Pipe& complaints) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output.end(1), 1);
  posix_spawn_file_actions_adddup2(&actions, complaints.end(1), 2);
  if (!child.folder.empty()) posix_spawn_file_actions_addchdir_np(&actions, child.folder.c_str());
  // What we ignore or block for ourselves must not be inherited.
  sigset_t none, defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM, SIGXFSZ}) sigaddset(&defaults, signal);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> arguments = child.arguments;
  std::vector<std::string> environment = merged_environment(child.environment);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, arguments.at(0).c_str(), &actions, &attributes, pointers(arguments).data(),
                                 pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error == ENOENT) return fail(Code::kNotFound, fmt::format("the program {} was not found", arguments[0]));
  if (error != 0)
    return fail(Code::kInternal, fmt::format("{} cannot be started: {}", arguments[0], std::strerror(error)));
  return pid;
}

// Reads both pipes until the child closes them, or until something ends it early.
Status pump(const ChildProcess& child, Pipe& output, Pipe& complaints, std::string& tail) {
  std::vector<char> buffer(64u << 10);
  std::array<pollfd, 2> ends{pollfd{output.end(0), POLLIN, 0}, pollfd{complaints.end(0), POLLIN, 0}};
  while (ends[0].fd >= 0 || ends[1].fd >= 0) {
    if (child.is_cancelled && child.is_cancelled()) return fail(Code::kCancelled, "stopped");
    if (child.on_tick) child.on_tick();
    if (poll(ends.data(), ends.size(), kTickMs) <= 0) continue;
    for (std::size_t i = 0; i < ends.size(); ++i) {
      if (ends[i].fd < 0 || ends[i].revents == 0) continue;
      const ssize_t got = read(ends[i].fd, buffer.data(), buffer.size());
      if (got <= 0) {
        ends[i].fd = -1;
        continue;
      }
      const std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
      if (i == 0 && child.on_output) {
        TRY(child.on_output(bytes));
      } else {
        tail += bytes;
        if (tail.size() > kTailBytes) tail.erase(0, tail.size() - kTailBytes);
      }
    }
  }
  return {};
}

}  // namespace

Result<ChildEnd> run_child(const ChildProcess& child) {
  Pipe output, complaints;
  if (!output.is_open() || !complaints.is_open()) return fail(Code::kInternal, "no pipe can be opened");
  const pid_t pid = TRY(spawn(child, output, complaints));
  output.close_end(1);
  complaints.close_end(1);
  ChildEnd end;
  const Status pumped = pump(child, output, complaints, end.tail);
  // SIGKILL: whatever it was doing is thrown away, and it must not be able to stay.
  if (!pumped) kill(pid, SIGKILL);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!pumped) return std::unexpected(pumped.error());
  end.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return end;
}

}  // namespace autoglm::hub

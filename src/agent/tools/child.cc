// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

namespace autoglm::agent {
namespace {

class Pipe final {
 public:
  Pipe() {
    if (pipe2(ends_.data(), O_CLOEXEC) != 0) ends_ = {-1, -1};
  }
  ~Pipe() {
    for (const int end : ends_) {
      if (end >= 0) close(end);
    }
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  bool is_open() const { return ends_[0] >= 0; }
  int end(std::size_t which) const { return ends_[which]; }
  // Our end, which must never block us.
  int keep(std::size_t which) {
    const int end = std::exchange(ends_[which], -1);
    fcntl(end, F_SETFL, fcntl(end, F_GETFL) | O_NONBLOCK);
    return end;
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (auto& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

std::string_view path_in(const std::vector<std::string>& environment) {
  for (const std::string_view entry : environment) {
    if (entry.starts_with("PATH=")) return entry.substr(5);
  }
  return {};
}

struct SpawnActions {
  posix_spawn_file_actions_t files{};
  posix_spawnattr_t attributes{};
  SpawnActions() {
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnActions() {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
};

// posix_spawn does not copy our page tables, which a fork beside a loaded model would have to.
Result<pid_t> spawn(const ChildOptions& options, const std::string& program, const std::array<int, 3>& streams) {
  SpawnActions actions;
  for (int i = 0; i < 3; ++i) {
    posix_spawn_file_actions_adddup2(&actions.files, streams[static_cast<std::size_t>(i)], i);
  }
  posix_spawn_file_actions_addclosefrom_np(&actions.files, 3);
  if (!options.folder.empty()) posix_spawn_file_actions_addchdir_np(&actions.files, options.folder.c_str());
  // What we ignore or block for ourselves must not be inherited.
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&actions.attributes, &none);
  posix_spawnattr_setsigdefault(&actions.attributes, &all);
  posix_spawnattr_setpgroup(&actions.attributes, 0);
  posix_spawnattr_setflags(&actions.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  std::vector<std::string> arguments = options.arguments;
  std::vector<std::string> environment = options.environment;
  pid_t pid = -1;
  const int error = posix_spawn(&pid, program.c_str(), &actions.files, &actions.attributes, pointers(arguments).data(),
                                pointers(environment).data());
  if (error == 0) return pid;
  return fail(error == ENOENT ? Code::kNotFound : Code::kUnavailable,
              fmt::format("{} cannot be started: {}", options.arguments[0], std::strerror(error)));
}

// SIGPIPE would end our process; it is sent to the thread that writes.
class WithoutSigpipe final {
 public:
  WithoutSigpipe() {
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~WithoutSigpipe() {
    const timespec now{};
    if (!was_pending_) sigtimedwait(&pipe_, nullptr, &now);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  WithoutSigpipe(const WithoutSigpipe&) = delete;
  WithoutSigpipe& operator=(const WithoutSigpipe&) = delete;

 private:
  sigset_t pipe_{};
  sigset_t before_{};
  bool was_pending_ = false;
};

}  // namespace

std::filesystem::path find_program(const std::string& program, std::string_view path) {
  if (program.find('/') != std::string::npos) {
    return access(program.c_str(), X_OK) == 0 ? std::filesystem::path(program) : std::filesystem::path();
  }
  while (!path.empty()) {
    const std::string_view folder = path.substr(0, path.find(':'));
    path.remove_prefix(std::min(folder.size() + 1, path.size()));
    const auto candidate = std::filesystem::path(folder) / program;
    if (!folder.empty() && access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

Result<std::unique_ptr<Child>> Child::start(const ChildOptions& options) {
  const auto program = find_program(options.arguments.at(0), path_in(options.environment));
  if (program.empty()) {
    return fail(Code::kNotFound, fmt::format("there is no program {} that can be run", options.arguments[0]));
  }
  Pipe input, output, complaints;
  if (!input.is_open() || !output.is_open() || !complaints.is_open()) {
    return fail(Code::kUnavailable, fmt::format("no pipe can be opened: {}", std::strerror(errno)));
  }
  std::unique_ptr<Child> child(new Child);
  child->pid_ = TRY(spawn(options, program, {input.end(0), output.end(1), complaints.end(1)}));
  child->input_ = input.keep(1);
  child->output_ = output.keep(0);
  child->complaints_ = complaints.keep(0);
  // Not glibc's own: its header is not for C++ in Debian 12.
  child->pid_file_ = static_cast<int>(syscall(SYS_pidfd_open, child->pid_, 0));
  if (child->pid_file_ < 0) return fail(Code::kUnavailable, fmt::format("no pidfd: {}", std::strerror(errno)));
  return child;
}

Child::~Child() {
  kill_and_wait();
  close_input();
  for (const int file : {output_, complaints_, pid_file_}) {
    if (file >= 0) close(file);
  }
}

void Child::close_input() {
  if (input_ >= 0) close(std::exchange(input_, -1));
}

void Child::terminate() {
  if (pid_ > 0) kill(-pid_, SIGTERM);
}

// The group is killed before its leader is waited for: until then nobody else can get its number.
int Child::kill_and_wait() {
  if (pid_ <= 0) return exit_code_;
  kill(-pid_, SIGKILL);
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_code_;
}

Result<std::size_t> write_some(int pipe, std::string_view bytes) {
  const WithoutSigpipe quiet;
  const ssize_t written = write(pipe, bytes.data(), bytes.size());
  if (written >= 0) return static_cast<std::size_t>(written);
  if (errno == EAGAIN || errno == EINTR) return 0;
  return fail(Code::kUnavailable, fmt::format("the program reads no more: {}", std::strerror(errno)));
}

}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/program.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <vector>

#include "agent/tools/wake.h"

namespace autoglm::agent {
namespace {

constexpr std::size_t kMaxComplaintBytes = 4096;
constexpr int kSleepMs = 500;  // should the eventfd have failed

class Run final {
 public:
  Run(Child& child, std::string_view input, std::size_t max_output_bytes, ProgramEnd& end)
      : child_(child), input_(input), max_output_bytes_(max_output_bytes), end_(end) {
    if (input_.empty()) child_.close_input();
  }

  // Until the program has ended and what it wrote was read. What its descendants hold open is not waited for.
  Status pump(const StopSignal& stop) {
    for (;;) {
      std::array<pollfd, 5> files{pollfd{child_.exit_signal(), POLLIN, 0}, pollfd{stop.descriptor(), POLLIN, 0},
                                  pollfd{child_.input(), POLLOUT, 0}, pollfd{output_, POLLIN, 0},
                                  pollfd{complaints_, POLLIN, 0}};
      const int ready = poll(files.data(), files.size(), kSleepMs);
      if (stop.is_requested()) return fail(Code::kCancelled, "stopped");
      if (ready <= 0) continue;
      if (files[2].revents != 0) feed();
      const bool has_ended = files[0].revents != 0;
      const bool has_read = TRY(read_from(output_, true)) + TRY(read_from(complaints_, false)) > 0;
      if (has_ended && !has_read) return {};
    }
  }

 private:
  void feed() {
    const auto written = write_some(child_.input(), input_);
    if (written) input_.remove_prefix(*written);
    // A program that does not want to read its input is within its rights.
    if (!written || input_.empty()) child_.close_input();
  }

  // One piece of what can be read now; 0 when there is nothing or the pipe is closed.
  Result<std::size_t> read_from(int& pipe, bool is_output) {
    std::array<char, 64u << 10> buffer;
    if (pipe < 0) return 0;
    const ssize_t got = read(pipe, buffer.data(), buffer.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (got <= 0) {
      pipe = -1;
      return 0;
    }
    const std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
    if (is_output) {
      if (end_.output.size() + bytes.size() > max_output_bytes_) {
        return fail(Code::kExhausted, fmt::format("it wrote more than {} bytes", max_output_bytes_));
      }
      end_.output += bytes;
    } else {
      end_.complaints += bytes;
      if (end_.complaints.size() > kMaxComplaintBytes)
        end_.complaints.erase(0, end_.complaints.size() - kMaxComplaintBytes);
    }
    return bytes.size();
  }

  Child& child_;
  std::string_view input_;
  const std::size_t max_output_bytes_;
  ProgramEnd& end_;
  int output_ = child_.output();
  int complaints_ = child_.complaints();
};

}  // namespace

Result<ProgramEnd> run_program(const ChildOptions& options, std::string_view input, std::size_t max_output_bytes,
                               std::stop_token stop) {
  const StopSignal signal(std::move(stop));
  if (signal.is_requested()) return fail(Code::kCancelled, "stopped");
  const std::unique_ptr<Child> child = TRY(Child::start(options));
  ProgramEnd end;
  Run run(*child, input, max_output_bytes, end);
  TRY(run.pump(signal));
  end.exit_code = child->kill_and_wait();
  return end;
}

}  // namespace autoglm::agent

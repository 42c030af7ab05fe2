// SPDX-License-Identifier: Apache-2.0
#include "agent/tools/mcp_stdio.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <deque>
#include <future>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "agent/tools/wake.h"
#include "base/log.h"
#include "base/mutex.h"

namespace autoglm::agent {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMaxOutboxBytes = 32u << 20;
constexpr std::size_t kMaxStrangeLines = 1000;  // programs that greet on stdout are common; ones that only talk are not
constexpr std::size_t kTailBytes = 2048;
constexpr milliseconds kEndGrace{2000};  // after its input was closed, and again after SIGTERM
constexpr int kPatienceMs = 500;

class StdioTransport final : public McpTransport {
 public:
  explicit StdioTransport(McpListener listener)
      : listener_(std::move(listener)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  ~StdioTransport() override {
    thread_.request_stop();
    ring();
    if (thread_.joinable()) thread_.join();
    if (wake_ >= 0) close(wake_);
  }

  Status start(ChildOptions options) {
    std::promise<Status> started;
    auto result = started.get_future();
    // The program dies with the thread that started it, where the sandbox asks the kernel for that: this one.
    thread_ = std::jthread([this, options = std::move(options), &started](const std::stop_token& stop) {
      auto child = Child::start(options);
      if (!child) return started.set_value(std::unexpected(std::move(child).error()));
      child_ = std::move(*child);
      started.set_value({});
      serve(stop);
      end();
    });
    return result.get();
  }

  Result<McpMessage> request(std::int64_t id, const std::string& message, std::stop_token stop,
                             base::Time until) override {
    const std::stop_callback on_stop(stop, [this] {
      const base::MutexLock lock(mutex_);
      answered_.notify_all();
    });
    base::MutexLock lock(mutex_);
    if (broken_) return std::unexpected(*broken_);
    std::optional<McpMessage>& answer = waiting_[id];
    Status put = put_line(message);
    bool is_late = false;
    while (put && !answer && !broken_ && !stop.stop_requested() && !is_late) {
      is_late = lock.wait_until(answered_, until) == std::cv_status::timeout;
    }
    std::optional<McpMessage> taken = std::move(answer);
    waiting_.erase(id);
    if (!put) return std::unexpected(std::move(put).error());
    if (taken) return std::move(*taken);
    if (broken_) return std::unexpected(*broken_);
    if (stop.stop_requested()) return fail(Code::kCancelled, "stopped");
    return fail(Code::kDeadline, "the server does not answer");
  }

  Status send(const std::string& message) override {
    const base::MutexLock lock(mutex_);
    if (broken_) return std::unexpected(*broken_);
    return put_line(message);
  }

  void set_protocol_version(const std::string&) override {}

 private:
  Status put_line(const std::string& message) REQUIRES(mutex_) {
    if (outbox_bytes_ + message.size() > kMaxOutboxBytes) return fail(Code::kExhausted, "the server does not read");
    outbox_bytes_ += message.size() + 1;
    outbox_.push_back(message + "\n");
    ring();
    return {};
  }

  void ring() const {
    const std::uint64_t one = 1;
    (void)!write(wake_, &one, sizeof one);
  }

  // --- the thread's own ------------------------------------------------------------------------------------------

  void serve(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const bool has_lines = has_outbox();
      std::array<pollfd, 5> files{pollfd{child_->output(), POLLIN, 0}, pollfd{child_->complaints(), POLLIN, 0},
                                  pollfd{has_lines ? child_->input() : -1, POLLOUT, 0}, pollfd{wake_, POLLIN, 0},
                                  pollfd{child_->exit_signal(), POLLIN, 0}};
      if (poll(files.data(), files.size(), kPatienceMs) <= 0) continue;
      std::uint64_t rings = 0;
      (void)!read(wake_, &rings, sizeof rings);
      Status going = read_complaints();
      if (going) going = read_output(files[4].revents != 0);
      if (going && files[2].revents != 0) going = write_outbox();
      if (!going) return break_with(std::move(going).error());
    }
    break_with(Error{Code::kUnavailable, "the connection to the server was closed", ""});
  }

  bool has_outbox() {
    const base::MutexLock lock(mutex_);
    return !outbox_.empty();
  }

  Status write_outbox() {
    const base::MutexLock lock(mutex_);
    while (!outbox_.empty()) {
      const std::size_t written = TRY(write_some(child_->input(), std::string_view(outbox_.front()).substr(sent_)));
      if (written == 0) return {};
      sent_ += written;
      if (sent_ < outbox_.front().size()) continue;
      outbox_bytes_ -= outbox_.front().size();
      outbox_.pop_front();
      sent_ = 0;
    }
    return {};
  }

  Status read_complaints() {
    std::array<char, 4096> buffer;
    const ssize_t got = read(child_->complaints(), buffer.data(), buffer.size());
    if (got <= 0) return {};
    tail_.append(buffer.data(), static_cast<std::size_t>(got));
    if (tail_.size() > kTailBytes) tail_.erase(0, tail_.size() - kTailBytes);
    return {};
  }

  Status read_output(bool has_ended) {
    std::array<char, 64u << 10> buffer;
    const ssize_t got = read(child_->output(), buffer.data(), buffer.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR) && !has_ended) return {};
    if (got <= 0) {
      const std::string words = tail_.empty() ? "" : ": " + base::printable(tail_, 500);
      return fail(Code::kUnavailable, fmt::format("the server has ended{}", words));
    }
    std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
    for (auto end = bytes.find('\n'); end != std::string_view::npos; end = bytes.find('\n')) {
      line_ += bytes.substr(0, end);
      bytes.remove_prefix(end + 1);
      TRY(take_line());
      line_.clear();
    }
    line_ += bytes;
    if (line_.size() > kMaxMcpMessageBytes) return fail(Code::kExhausted, "the server's message is too large");
    return {};
  }

  Status take_line() {
    const auto first = line_.find_first_not_of(" \t\r");
    if (first == std::string::npos) return {};
    if (line_[first] != '{' && line_[first] != '[') {
      if (++strange_lines_ > kMaxStrangeLines) return fail(Code::kCorrupt, "the server writes what is no message");
      return {};
    }
    for (const McpMessage& message : TRY(parse_mcp(line_))) dispatch(message);
    return {};
  }

  void dispatch(const McpMessage& message) {
    const bool is_answer = message.kind == McpMessage::Kind::kResult || message.kind == McpMessage::Kind::kError;
    if (!is_answer) return listener_(message);
    if (!message.id.is_int64()) return;
    const base::MutexLock lock(mutex_);
    const auto waiting = waiting_.find(message.id.get_int64());
    // An answer that nobody waits for (cancelled, or a second one) is none.
    if (waiting == waiting_.end() || waiting->second) return;
    waiting->second = message;
    answered_.notify_all();
  }

  void break_with(Error error) {
    const base::MutexLock lock(mutex_);
    broken_ = std::move(error);
    answered_.notify_all();
  }

  // As the protocol asks for: close its input, wait, ask, kill.
  void end() {
    (void)write_outbox();
    child_->close_input();
    if (!has_ended_within(kEndGrace)) {
      child_->terminate();
      has_ended_within(kEndGrace);
    }
    child_.reset();
  }

  // Reads and drops what it still writes, or it could not end.
  bool has_ended_within(milliseconds grace) {
    const auto until = std::chrono::steady_clock::now() + grace;
    std::array<char, 64u << 10> buffer;
    for (;;) {
      const auto left = std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
      if (left.count() <= 0) return false;
      std::array<pollfd, 3> files{pollfd{child_->exit_signal(), POLLIN, 0}, pollfd{child_->output(), POLLIN, 0},
                                  pollfd{child_->complaints(), POLLIN, 0}};
      poll(files.data(), files.size(), static_cast<int>(left.count()));
      if (files[0].revents != 0) return true;
      const bool is_closed = read(child_->output(), buffer.data(), buffer.size()) == 0 &&
                             read(child_->complaints(), buffer.data(), buffer.size()) == 0;
      if (is_closed) {
        const auto rest = std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
        return poll(files.data(), 1, static_cast<int>(std::max<std::int64_t>(rest.count(), 0))) > 0;
      }
    }
  }

  const McpListener listener_;
  const int wake_;
  base::Mutex mutex_;
  std::condition_variable answered_;
  std::map<std::int64_t, std::optional<McpMessage>> waiting_ GUARDED_BY(mutex_);
  std::deque<std::string> outbox_ GUARDED_BY(mutex_);
  std::size_t outbox_bytes_ GUARDED_BY(mutex_) = 0;
  std::size_t sent_ GUARDED_BY(mutex_) = 0;  // of the first line
  std::optional<Error> broken_ GUARDED_BY(mutex_);
  // The thread's own:
  std::unique_ptr<Child> child_;
  std::string line_;
  std::string tail_;
  std::size_t strange_lines_ = 0;
  std::jthread thread_;
};

}  // namespace

Result<std::unique_ptr<McpTransport>> connect_mcp_stdio(ChildOptions options, McpListener listener) {
  auto transport = std::make_unique<StdioTransport>(std::move(listener));
  TRY(transport->start(std::move(options)));
  return transport;
}

}  // namespace autoglm::agent

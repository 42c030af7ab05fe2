// SPDX-License-Identifier: Apache-2.0
// Sinks between the engine's thread and one of Python's: the engine writes and never touches Python; the other waits
// without the GIL, a moment at a time, so that Ctrl-C is heard in between.
#pragma once

#include <nanobind/nanobind.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/mutex.h"
#include "binding/failure.h"
#include "generation/collect.h"

namespace autoglm::python {

inline constexpr base::Duration kMoment = std::chrono::milliseconds(50);

// All of one answer, and its text as it comes.
class AnswerSink final : public generation::Sink {
 public:
  struct Piece {
    std::string text;     // what has come since the last wait
    bool is_end = false;  // and nothing more will come
  };

  void on_token(generation::TokenEvent event) override EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    unread_ += event.text;
    answer_.text += event.text;
    answer_.tokens.push_back(std::move(event));
    if (!unread_.empty()) changed_.notify_all();
  }
  void on_finish(generation::Finish finish) override EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    unread_ += finish.text;
    answer_.text += finish.text;
    answer_.finish = std::move(finish);
    is_finished_ = true;
    changed_.notify_all();
  }

  /// Waits for text or the end, not longer than this.
  Piece wait(base::Duration longest) EXCLUDES(mutex_) {
    const auto until = std::chrono::steady_clock::now() + longest;
    base::MutexLock lock(mutex_);
    while (unread_.empty() && !is_finished_ && lock.wait_until(changed_, until) == std::cv_status::no_timeout) {
    }
    return {std::exchange(unread_, {}), is_finished_};
  }
  bool is_finished() const EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    return is_finished_;
  }
  generation::Answer answer() const EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    return answer_;
  }

 private:
  mutable base::Mutex mutex_;
  std::condition_variable changed_;
  std::string unread_ GUARDED_BY(mutex_);
  generation::Answer answer_ GUARDED_BY(mutex_);
  bool is_finished_ GUARDED_BY(mutex_) = false;
};

// The logits of a prompt's rows, put where they will stay.
class LogitsSink final : public generation::Sink {
 public:
  explicit LogitsSink(std::size_t rows) : rows_(rows) {}

  void on_prompt_logits(std::size_t position, std::span<const float> logits) override {
    if (position == 0) {
      vocab_ = logits.size();
      logits_ = std::make_unique_for_overwrite<float[]>(rows_ * vocab_);
    }
    std::ranges::copy(logits, logits_.get() + position * vocab_);
  }
  void on_token(generation::TokenEvent) override {}
  void on_finish(generation::Finish finish) override EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    finish_ = std::move(finish);
    changed_.notify_all();
  }

  std::optional<generation::Finish> wait(base::Duration longest) EXCLUDES(mutex_) {
    const auto until = std::chrono::steady_clock::now() + longest;
    base::MutexLock lock(mutex_);
    while (!finish_ && lock.wait_until(changed_, until) == std::cv_status::no_timeout) {
    }
    return finish_;
  }
  /// After the end: [rows, vocab()].
  std::unique_ptr<float[]> take() { return std::move(logits_); }
  std::size_t vocab() const { return vocab_; }

 private:
  const std::size_t rows_;
  std::size_t vocab_ = 0;  // this and the next: the engine's thread alone, until the end
  std::unique_ptr<float[]> logits_;
  base::Mutex mutex_;
  std::condition_variable changed_;
  std::optional<generation::Finish> finish_ GUARDED_BY(mutex_);
};

/// What `sink->wait(kMoment)` gives once it gives something; `cancel()` is called before an exception of a signal's
/// handler goes on its way. With the GIL, which is let go while waiting.
template <typename Sink, typename Cancel>
auto wait_for_end(Sink& sink, const Cancel& cancel) {
  for (;;) {
    {
      const nanobind::gil_scoped_release released;
      if (auto end = sink.wait(kMoment)) return std::move(*end);
    }
    try {
      check_signals();
    } catch (...) {
      cancel();
      throw;
    }
  }
}

}  // namespace autoglm::python

// SPDX-License-Identifier: Apache-2.0
// Hands the text of an answer from the engine's thread to the one that waits for it. What has come since that one last
// looked is one piece, so that a slow reader holds nobody up; there is never more than the answer.
#pragma once

#include <condition_variable>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/mutex.h"
#include "generation/generator.h"

namespace autoglm::generation {

class TextSink final : public Sink {
 public:
  struct Piece {
    std::string text;              // may be empty at the end, and when the time was up
    std::optional<Finish> finish;  // no more will come; its text is in `text`
  };

  void on_token(TokenEvent event) override EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    text_ += event.text;
    changed_.notify_all();
  }
  void on_finish(Finish finish) override EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    text_ += finish.text;
    finish_ = std::move(finish);
    changed_.notify_all();
  }

  /// Waits for more, but not longer than this.
  Piece wait(base::Duration longest) EXCLUDES(mutex_) {
    const auto until = std::chrono::steady_clock::now() + longest;
    base::MutexLock lock(mutex_);
    while (text_.empty() && !finish_ && lock.wait_until(changed_, until) == std::cv_status::no_timeout) {
    }
    return take();
  }
  Piece wait() EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    while (text_.empty() && !finish_) lock.wait(changed_);
    return take();
  }

 private:
  Piece take() REQUIRES(mutex_) { return {std::exchange(text_, {}), finish_}; }

  base::Mutex mutex_;
  std::condition_variable changed_;
  std::string text_ GUARDED_BY(mutex_);
  std::optional<Finish> finish_ GUARDED_BY(mutex_);
};

}  // namespace autoglm::generation

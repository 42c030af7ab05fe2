// SPDX-License-Identifier: Apache-2.0
// Takes one answer of the model from the engine's thread to the run's: parsed as it comes, waited for, and found to be
// enough before its end when what follows would not count.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "agent/agent_loop.h"
#include "agent/turn_reader.h"
#include "base/mutex.h"
#include "generation/generator.h"

namespace autoglm::agent {

// One model answer on its way: parsed as it comes on the engine's thread, waited for on the run's.
class TurnSink final : public generation::Sink {
 public:
  // Whether the turn should go on, of whose calls the last one may only have its name yet. On the engine's thread.
  enum class Last : std::uint8_t { kComplete, kBegun };
  using Wants = std::function<bool(std::span<const ActionCall> calls, Last last)>;

  /// Without an observer nobody hears the text.
  TurnSink(TurnReader reader, RunObserver* observer, Wants wants)
      : reader_(std::move(reader)), observer_(observer), wants_(std::move(wants)) {}

  void on_token(generation::TokenEvent event) override EXCLUDES(mutex_) { read(event.text); }
  void on_finish(generation::Finish finish) override EXCLUDES(mutex_) {
    read(finish.text);
    base::MutexLock lock(mutex_);
    finish_ = std::move(finish);
    changed_.notify_all();
  }
  /// Waits until the rest is of no use. False when the end came first.
  bool wait_for_enough() EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    while (!finish_ && !has_enough_) lock.wait(changed_);
    return has_enough_;
  }
  /// Waits for the end.
  generation::Finish wait() EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    while (!finish_) lock.wait(changed_);
    return *finish_;
  }
  /// After the end only.
  TurnReader& reader() { return reader_; }

 private:
  void read(std::string_view text) EXCLUDES(mutex_) {
    if (reader_.is_stopped()) return;
    const std::string shown = reader_.push(text);
    if (!shown.empty() && observer_ != nullptr) observer_->on_text(shown);
    const auto calls = reader_.calls();
    const std::size_t complete = calls.size() - (reader_.is_in_call() ? 1 : 0);
    while (looked_at_ < complete) {
      if (!wants_(calls.first(++looked_at_), Last::kComplete)) return stop();
    }
    if (reader_.is_in_call() && !wants_(calls, Last::kBegun)) stop();
  }

  void stop() EXCLUDES(mutex_) {
    reader_.stop();
    base::MutexLock lock(mutex_);
    has_enough_ = true;
    changed_.notify_all();
  }

  TurnReader reader_;
  RunObserver* observer_;
  const Wants wants_;
  std::size_t looked_at_ = 0;  // calls
  base::Mutex mutex_;
  std::condition_variable changed_;
  bool has_enough_ GUARDED_BY(mutex_) = false;
  std::optional<generation::Finish> finish_ GUARDED_BY(mutex_);
};

}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
// Where threads meet: a queue with a capacity and a policy for when it is full. Any thread on either side.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>

#include "base/check.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace autoglm::base {

enum class WhenFull {
  kRefuse,  // push() returns false at once
  kWait,    // push() waits for room
};

template <typename T>
class BoundedQueue final {
 public:
  BoundedQueue(std::size_t capacity, WhenFull when_full) : capacity_(capacity), when_full_(when_full) {
    CHECK(capacity > 0);
  }

  /// False when full (kRefuse) or closed; `item` is then untouched.
  bool push(T&& item) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (when_full_ == WhenFull::kWait && items_.size() >= capacity_ && !closed_) lock.wait(room_);
    if (closed_ || items_.size() >= capacity_) return false;
    items_.push_back(std::move(item));
    // Under the lock: as soon as it is free the other side may take the item, end, and destroy this queue.
    arrived_.notify_one();
    return true;
  }

  /// The oldest item if there is one now.
  std::optional<T> try_pop() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return take();
  }

  /// Waits for an item; empty when the queue is closed and drained.
  std::optional<T> pop() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (items_.empty() && !closed_) lock.wait(arrived_);
    return take();
  }

  /// As pop(), but gives up at `until` (the machine's monotonic clock).
  std::optional<T> pop_until(Time until) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (items_.empty() && !closed_) {
      if (lock.wait_until(arrived_, until) == std::cv_status::timeout) break;
    }
    return take();
  }

  /// Refuses new items; those inside can still be popped. Wakes all waiters.
  void close() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    closed_ = true;
    arrived_.notify_all();
    room_.notify_all();
  }

  std::size_t size() const EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return items_.size();
  }
  std::size_t capacity() const { return capacity_; }

 private:
  std::optional<T> take() REQUIRES(mutex_) {
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    room_.notify_one();
    return item;
  }

  const std::size_t capacity_;
  const WhenFull when_full_;
  mutable Mutex mutex_;
  std::condition_variable arrived_;
  std::condition_variable room_;
  std::deque<T> items_ GUARDED_BY(mutex_);
  bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace autoglm::base

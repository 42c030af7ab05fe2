// SPDX-License-Identifier: Apache-2.0
#include "engine/compute_turns.h"

#include <chrono>

namespace autoglm::engine {
namespace {

double in_seconds(base::Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

ComputeTurns::Seat::Seat(ComputeTurns& turns, double weight, telemetry::Registry& metrics)
    : turns_(turns),
      seconds_(metrics.counter("openautoglm_turn_seconds_total")),
      waited_seconds_(metrics.counter("openautoglm_turn_wait_seconds_total")) {
  metrics.gauge("openautoglm_model_weight").set(weight);
  base::MutexLock lock(turns_.mutex_);
  member_ = turns_.queue_.join(weight);
  turns_.due_[member_] = &is_due_;
}

ComputeTurns::Seat::~Seat() {
  base::MutexLock lock(turns_.mutex_);
  turns_.queue_.leave(member_);
  turns_.due_.erase(member_);
  turns_.wake_next();
}

void ComputeTurns::Seat::take() {
  const base::Time asked = turns_.clock_.now();
  {
    base::MutexLock lock(turns_.mutex_);
    turns_.queue_.wake(member_);
    while (turns_.is_taken_ || turns_.queue_.next() != member_) lock.wait(is_due_);
    turns_.queue_.begin(member_);
    turns_.is_taken_ = true;
  }
  began_ = turns_.clock_.now();
  waited_seconds_.add(in_seconds(began_ - asked));
}

void ComputeTurns::Seat::give_back() {
  const double cost = in_seconds(turns_.clock_.now() - began_);
  seconds_.add(cost);
  base::MutexLock lock(turns_.mutex_);
  turns_.queue_.charge(member_, cost);
  turns_.is_taken_ = false;
  turns_.wake_next();
}

void ComputeTurns::Seat::rest() {
  base::MutexLock lock(turns_.mutex_);
  if (!turns_.queue_.is_awake(member_)) return;
  turns_.queue_.rest(member_);
  turns_.wake_next();
}

// It may not wait yet: then it finds that its turn has come as soon as it asks.
void ComputeTurns::wake_next() {
  if (is_taken_) return;
  if (const auto next = queue_.next()) due_.at(*next)->notify_one();
}

}  // namespace autoglm::engine

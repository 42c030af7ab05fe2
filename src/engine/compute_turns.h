// SPDX-License-Identifier: Apache-2.0
// How several models on one node share the processor: one model's step at a time, by weight (fair_queue.h), each step
// charged with the time that it took. Kernels use all threads that their model has, so that two steps at once would
// only be in each other's way. (docs/decisions/0016-several-models.md)
#pragma once

#include <condition_variable>
#include <map>

#include "base/clock.h"
#include "base/mutex.h"
#include "engine/fair_queue.h"
#include "telemetry/metrics.h"

namespace autoglm::engine {

class ComputeTurns final {
 public:
  /// `clock` measures the steps and must outlive this.
  explicit ComputeTurns(const base::Clock& clock) : clock_(clock) {}
  ComputeTurns(const ComputeTurns&) = delete;
  ComputeTurns& operator=(const ComputeTurns&) = delete;

  // One engine's place. Its making on any thread; all else on the engine's.
  class Seat final {
   public:
    /// `turns` and `metrics` must outlive it. `weight` > 0.
    Seat(ComputeTurns& turns, double weight, telemetry::Registry& metrics);
    ~Seat();
    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;

    /// Waits for its turn. From here until rest() it is counted among those that have something to do, also between
    /// its steps: who comes back at once is not passed over by one that happens to wait already.
    void take() EXCLUDES(turns_.mutex_);
    /// Ends the turn.
    void give_back() EXCLUDES(turns_.mutex_);
    /// It has nothing to do and may be away for long; the others go on. To be called before any wait but take()'s.
    void rest() EXCLUDES(turns_.mutex_);

   private:
    ComputeTurns& turns_;
    telemetry::Counter& seconds_;
    telemetry::Counter& waited_seconds_;
    FairQueue::Member member_ = 0;
    base::Time began_{};
    std::condition_variable is_due_;
  };

 private:
  void wake_next() REQUIRES(mutex_);

  const base::Clock& clock_;
  base::Mutex mutex_;
  FairQueue queue_ GUARDED_BY(mutex_);
  std::map<FairQueue::Member, std::condition_variable*> due_ GUARDED_BY(mutex_);
  bool is_taken_ GUARDED_BY(mutex_) = false;
};

}  // namespace autoglm::engine

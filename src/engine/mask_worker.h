// SPDX-License-Identifier: Apache-2.0
// Computes the grammars' masks of a step on a thread of its own while the forward pass runs: the engine's thread starts
// it after planning and waits for it before sampling. Between the two the matchers of the planned sequences are the
// worker's alone. A step without grammars costs nothing.
#pragma once

#include <condition_variable>
#include <span>
#include <thread>

#include "base/mutex.h"
#include "engine/plan.h"
#include "telemetry/stages.h"

namespace autoglm::engine {

class MaskWorker final {
 public:
  /// `stages`, which must outlive this, hear of the work and of the wait for it.
  explicit MaskWorker(telemetry::Stages& stages);
  ~MaskWorker();
  MaskWorker(const MaskWorker&) = delete;
  MaskWorker& operator=(const MaskWorker&) = delete;

  /// Begins with the masks of the sequences that will sample. They must stay as they are until finish().
  void start(std::span<const PlannedSequence> sequences) EXCLUDES(mutex_);
  /// Waits until all masks are there.
  void finish() EXCLUDES(mutex_);

 private:
  void serve() EXCLUDES(mutex_);

  telemetry::Stages& stages_;
  base::Mutex mutex_;
  std::condition_variable changed_;
  std::span<const PlannedSequence> work_ GUARDED_BY(mutex_);
  bool has_work_ GUARDED_BY(mutex_) = false;
  bool is_stopping_ GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses all of the above
};

/// Fills in the masks of the sequences that will sample and have none yet. Never throws.
void compute_masks(std::span<const PlannedSequence> sequences);

}  // namespace autoglm::engine

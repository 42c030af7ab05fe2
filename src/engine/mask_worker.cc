// SPDX-License-Identifier: Apache-2.0
#include "engine/mask_worker.h"

#include <algorithm>

namespace autoglm::engine {
namespace {

bool wants_mask(const PlannedSequence& planned) {
  return planned.samples && planned.sequence->sampling.matcher() != nullptr;
}

}  // namespace

void compute_masks(std::span<const PlannedSequence> sequences) {
  for (const PlannedSequence& planned : sequences) {
    if (wants_mask(planned)) planned.sequence->sampling.prepare_mask();
  }
}

MaskWorker::MaskWorker(telemetry::Stages& stages) : stages_(stages), thread_([this] { serve(); }) {}

MaskWorker::~MaskWorker() {
  {
    base::MutexLock lock(mutex_);
    is_stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void MaskWorker::start(std::span<const PlannedSequence> sequences) {
  if (std::ranges::none_of(sequences, wants_mask)) return;
  telemetry::StageTimer time(&stages_, telemetry::Stage::kMaskWait);  // whom it wakes may go first on this core
  base::MutexLock lock(mutex_);
  work_ = sequences;
  has_work_ = true;
  changed_.notify_all();
}

void MaskWorker::finish() {
  base::MutexLock lock(mutex_);
  if (!has_work_) return;
  telemetry::StageTimer time(&stages_, telemetry::Stage::kMaskWait);
  while (has_work_) lock.wait(changed_);
}

void MaskWorker::serve() {
  while (true) {
    std::span<const PlannedSequence> work;
    {
      base::MutexLock lock(mutex_);
      while (!has_work_ && !is_stopping_) lock.wait(changed_);
      if (is_stopping_) return;
      work = work_;
    }
    {
      telemetry::StageTimer time(&stages_, telemetry::Stage::kGrammarMask);
      compute_masks(work);
    }
    base::MutexLock lock(mutex_);
    has_work_ = false;
    changed_.notify_all();
  }
}

}  // namespace autoglm::engine

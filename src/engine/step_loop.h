// SPDX-License-Identifier: Apache-2.0
// The step: plan, forward, sample, commit. Owns the model, the scheduler and the sampler, and knows no thread and no
// queue, so that the simulation runs exactly what the engine's thread runs. One thread at a time.
#pragma once

#include <memory>
#include <vector>

#include "base/clock.h"
#include "engine/engine_metrics.h"
#include "engine/mask_worker.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "model/language_model.h"

namespace autoglm::engine {

struct StepLoopOptions {
  SchedulerOptions scheduler;
  std::size_t block_count = 1;
  std::vector<TokenId> grammar_ends;
  bool is_favourite_binding = false;
  bool has_jump_forward = true;
};

class StepLoop final {
 public:
  /// Reserves the model's memory. `model`, `clock` and `metrics` must outlive the loop.
  /// `masks`, when given, computes grammars' masks beside the forward pass; else the sampler does after it.
  StepLoop(model::LanguageModel& model, const StepLoopOptions& options, const base::Clock& clock,
           EngineMetrics& metrics, MaskWorker* masks = nullptr);

  void add(std::unique_ptr<Sequence> sequence) { scheduler_.add(std::move(sequence)); }

  /// One step, or nothing when nothing is due. A failure ends the sequences it belongs to and no other.
  void step();
  /// Ends everything that is left.
  void end_all(const Error& why) { scheduler_.end_all(why, clock_.now()); }

  const Scheduler& scheduler() const { return scheduler_; }

 private:
  bool run(const StepPlan& plan);
  void run_one_by_one();

  model::LanguageModel& model_;
  MaskWorker* const masks_;
  const base::Clock& clock_;
  EngineMetrics& metrics_;
  Scheduler scheduler_;
  Sampler sampler_;
};

}  // namespace autoglm::engine

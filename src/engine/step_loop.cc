// SPDX-License-Identifier: Apache-2.0
#include "engine/step_loop.h"

#include <exception>

#include "base/log.h"

namespace autoglm::engine {
namespace {

SchedulerOptions with_lengths(SchedulerOptions options, const model::LanguageModel& model) {
  options.short_context = model.short_context();
  return options;
}

std::size_t max_logit_rows(const SchedulerOptions& options) { return options.max_batch_size + options.max_scored_rows; }

}  // namespace

StepLoop::StepLoop(model::LanguageModel& model, const StepLoopOptions& options, const base::Clock& clock,
                   EngineMetrics& metrics, MaskWorker* masks)
    : model_(model),
      masks_(masks),
      clock_(clock),
      metrics_(metrics),
      scheduler_(with_lengths(options.scheduler, model), options.block_count, metrics),
      sampler_({model.vocab(), options.scheduler.max_batch_size, max_logit_rows(options.scheduler),
                options.grammar_ends, options.is_favourite_binding, options.has_jump_forward, model.pool()}) {
  model_.reserve(options.block_count, options.scheduler.max_batch_tokens, max_logit_rows(options.scheduler));
  metrics_.kv_blocks_total.set(static_cast<double>(options.block_count));
  metrics_.kv_bytes.set(static_cast<double>(options.block_count * model.kv_bytes_per_block()));
}

void StepLoop::step() {
  const base::Time begin = clock_.now();
  scheduler_.expire(begin);
  const StepPlan& plan = scheduler_.plan(begin);
  if (!plan.sequences.empty()) {
    metrics_.batch_rows.observe(static_cast<double>(plan.batch.tokens.size()));
    metrics_.batch_sequences.observe(static_cast<double>(plan.sequences.size()));
    for (const BlockCopy& copy : plan.copies) model_.copy_block(copy.from, copy.to);
    if (!run(plan)) run_one_by_one();
    metrics_.steps.add();
    metrics_.step_seconds.observe(std::chrono::duration<double>(clock_.now() - begin).count());
  }
  metrics_.waiting.set(static_cast<double>(scheduler_.waiting_count()));
  metrics_.running.set(static_cast<double>(scheduler_.running_count()));
  metrics_.kv_blocks_cached.set(static_cast<double>(scheduler_.pool().cached_count()));
  metrics_.kv_blocks_used.set(static_cast<double>(scheduler_.pool().used_count()));
}

bool StepLoop::run(const StepPlan& plan) {
  model::Logits logits;
  bool has_failed = false;
  if (masks_ != nullptr) masks_->start(plan.sequences);
  try {
    logits = model_.forward(plan.batch);
  } catch (const std::exception& thrown) {
    LOG_ERROR("a step of {} sequences failed: {}", plan.sequences.size(), thrown.what());
    has_failed = true;
  }
  if (masks_ != nullptr) masks_->finish();
  if (has_failed) return false;
  telemetry::StageTimer time(&metrics_.stages, telemetry::Stage::kSample);
  const Sampled sampled = sampler_.sample(plan, logits);
  time.stop();
  scheduler_.commit(plan, sampled, clock_.now());
  return true;
}

// The forward pass threw and does not say for whom. Rows may be run again without harm (a position's KV is always the
// same), so each sequence takes the step alone, and the one that throws again is the one that ends.
void StepLoop::run_one_by_one() {
  const std::size_t count = scheduler_.planned_count();
  for (std::size_t i = 0; i < count; ++i) {
    const StepPlan& plan = scheduler_.plan_alone(i);
    if (!run(plan)) scheduler_.fail(plan.sequences[0], Error{Code::kInternal, "the model failed on this request", {}});
  }
  scheduler_.retire(clock_.now());
}

}  // namespace autoglm::engine

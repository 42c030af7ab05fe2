// SPDX-License-Identifier: Apache-2.0
// Handles on the engine's metrics, looked up once at start. Updated by the engine's thread once a step or an event.
#pragma once

#include "telemetry/metrics.h"

namespace autoglm::engine {

struct EngineMetrics final {
  explicit EngineMetrics(telemetry::Registry& registry)
      : stages(registry.stages()),
        waiting(registry.gauge("openautoglm_requests_waiting")),
        running(registry.gauge("openautoglm_requests_running")),
        submitted(registry.counter("openautoglm_requests_submitted_total")),
        finished_stop(registry.counter("openautoglm_requests_finished_total", "stop")),
        finished_length(registry.counter("openautoglm_requests_finished_total", "length")),
        finished_cancelled(registry.counter("openautoglm_requests_finished_total", "cancelled")),
        finished_error(registry.counter("openautoglm_requests_finished_total", "error")),
        steps(registry.counter("openautoglm_steps_total")),
        batch_rows(registry.histogram("openautoglm_batch_rows")),
        batch_sequences(registry.histogram("openautoglm_batch_sequences")),
        prompt_tokens(registry.counter("openautoglm_prompt_tokens_total")),
        cached_tokens(registry.counter("openautoglm_cached_tokens_total")),
        generated_tokens(registry.counter("openautoglm_generated_tokens_total")),
        forced_tokens(registry.counter("openautoglm_forced_tokens_total")),
        recomputed_tokens(registry.counter("openautoglm_recomputed_tokens_total")),
        preemptions(registry.counter("openautoglm_preemptions_total")),
        kv_blocks_total(registry.gauge("openautoglm_kv_blocks_total")),
        kv_blocks_used(registry.gauge("openautoglm_kv_blocks_used")),
        kv_blocks_cached(registry.gauge("openautoglm_kv_blocks_cached")),
        kv_bytes(registry.gauge("openautoglm_kv_bytes")),
        queue_capacity(registry.gauge("openautoglm_queue_capacity")),
        queue_seconds(registry.histogram("openautoglm_queue_seconds")),
        first_token_seconds(registry.histogram("openautoglm_time_to_first_token_seconds")),
        inter_token_seconds(registry.histogram("openautoglm_inter_token_seconds")),
        request_seconds(registry.histogram("openautoglm_request_seconds")),
        step_seconds(registry.histogram("openautoglm_step_seconds")) {}

  telemetry::Stages& stages;
  telemetry::Gauge& waiting;
  telemetry::Gauge& running;
  telemetry::Counter& submitted;
  telemetry::Counter& finished_stop;
  telemetry::Counter& finished_length;
  telemetry::Counter& finished_cancelled;
  telemetry::Counter& finished_error;
  telemetry::Counter& steps;
  telemetry::Histogram& batch_rows;
  telemetry::Histogram& batch_sequences;
  telemetry::Counter& prompt_tokens;
  telemetry::Counter& cached_tokens;
  telemetry::Counter& generated_tokens;
  telemetry::Counter& forced_tokens;
  telemetry::Counter& recomputed_tokens;
  telemetry::Counter& preemptions;
  telemetry::Gauge& kv_blocks_total;
  telemetry::Gauge& kv_blocks_used;
  telemetry::Gauge& kv_blocks_cached;
  telemetry::Gauge& kv_bytes;
  telemetry::Gauge& queue_capacity;
  telemetry::Histogram& queue_seconds;
  telemetry::Histogram& first_token_seconds;
  telemetry::Histogram& inter_token_seconds;
  telemetry::Histogram& request_seconds;
  telemetry::Histogram& step_seconds;
};

}  // namespace autoglm::engine

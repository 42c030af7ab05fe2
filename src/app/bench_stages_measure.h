// SPDX-License-Identifier: Apache-2.0
// The measuring of `bench stages`: prompts and decode steps through the engine's own step loop, with scheduler, sampler
// and text, on the calling thread. What its stages count is what they count in a server.
#pragma once

#include <cstddef>
#include <functional>
#include <string_view>
#include <vector>

#include "app/stage_table.h"
#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"
#include "kernels/roof.h"
#include "telemetry/metrics.h"

namespace autoglm::app {

struct StagesPlan {
  std::size_t prefill_tokens = 512;    // of each prompt; 0 = not measured
  std::size_t decode_steps = 128;      // 0 = not measured
  std::size_t batch = 1;               // sequences that decode together
  std::size_t depth = 0;               // tokens that each context holds before the first decode step, at least one
  std::size_t max_batch_tokens = 512;  // rows of one step; a longer prompt is cut
  std::size_t rounds = 3;              // prompts, and runs of decode steps; each after one that is not measured
};

/// One report for prefill and one for decode, as far as the plan has them. The model was loaded with the stages of
/// `registry`; its KV memory is reserved here, once. `progress` hears of each report's start; it may be empty.
///   Errors   kInvalidArgument (nothing to measure, no rounds, no sequences, or more tokens than the context: both
///            figures are named), and those of its tokenizer
Result<std::vector<StageReport>> measure_stages(engine::EngineModel& model, const StagesPlan& plan,
                                                const kernels::Roof& roof, telemetry::Registry& registry,
                                                const base::Clock& clock,
                                                const std::function<void(std::string_view what)>& progress);

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
// The measuring of `bench`: tokens a second of a bare LanguageModel, without scheduler, sampler or text. The same work
// as llama-bench's pp (a fresh prompt, logits of its last token) and tg (one token a step, logits of each), so that the
// two can stand side by side. One thread, the one that owns the network.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "model/language_model.h"

namespace autoglm::app {

struct BenchPlan {
  std::size_t prefill_tokens = 512;     // of the fresh prompt; 0 = not measured
  std::size_t decode_steps = 128;       // 0 = not measured
  std::size_t depth = 0;                // tokens that each context holds before the first decode step
  std::vector<std::size_t> batches{1};  // sequences that decode together
  std::size_t max_batch_tokens = 512;   // rows of one step; a longer prompt is cut
  std::size_t rounds = 5;               // measured, after one that is not
};

enum class BenchKind : std::uint8_t { kPrefill, kDecode };
std::string_view bench_kind_name(BenchKind kind);  // "prefill", "decode"

struct BenchResult {
  BenchKind kind = BenchKind::kPrefill;
  std::size_t batch = 1;                  // sequences
  std::size_t tokens = 0;                 // per sequence and round
  std::vector<double> tokens_per_second;  // of every round, all sequences together

  double median() const;
  double best() const;
  double worst() const;
};

/// Runs the plan on a freshly loaded network (its KV memory is reserved here, once). `progress` hears of each result's
/// start; it may be empty.
///   Errors   kInvalidArgument (nothing to measure, no rounds, a batch of none, or more tokens than the context: both
///            figures are named)
Result<std::vector<BenchResult>> measure_network(model::LanguageModel& network, const BenchPlan& plan,
                                                 const base::Clock& clock,
                                                 const std::function<void(BenchKind, std::size_t batch)>& progress);

}  // namespace autoglm::app

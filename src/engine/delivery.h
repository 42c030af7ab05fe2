// SPDX-License-Identifier: Apache-2.0
// The way back: turns sampled tokens into text and events for a sequence's sink, and counts what clients experience.
// Allocates only an event's own text and lists. Engine thread only.
#pragma once

#include "base/clock.h"
#include "engine/engine_metrics.h"
#include "engine/plan.h"

namespace autoglm::engine {

class Delivery final {
 public:
  explicit Delivery(EngineMetrics& metrics) : metrics_(metrics) {}

  /// Keeps the logprobs of prompt tokens, and hands all of them over when they are complete; logits at once. Throws
  /// what the sink or the allocator throws; so does token().
  void prompt_scores(Sequence& sequence, std::span<const SampledToken> scored);
  /// One token of the answer, already appended. Ends the sequence when a stop string is complete.
  void token(Sequence& sequence, const SampledToken& sampled, base::Time now);
  /// The token that ends the answer, and does not belong to it.
  void end_token(Sequence& sequence, const SampledToken& sampled);
  /// The last word: held-back text, reason, usage and times. Throws nothing.
  void finish(Sequence& sequence, base::Time now);

 private:
  EngineMetrics& metrics_;
};

}  // namespace autoglm::engine

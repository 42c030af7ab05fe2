// SPDX-License-Identifier: Apache-2.0
// What the four lines of a step hand to one another: the plan (which sequences, how many rows, which logits) and what
// was sampled. Plain views on memory of the scheduler and the sampler, valid until their next call. Engine thread only.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "engine/sequence.h"
#include "model/batch.h"

namespace autoglm::engine {

// One sequence's share of a step. Its logit rows come first for scored prompt tokens, then one if it samples.
struct PlannedSequence {
  Sequence* sequence = nullptr;
  std::uint32_t rows = 0;
  std::uint32_t first_logit = 0;  // index into the batch's logit rows
  std::uint32_t scored = 0;       // rows whose logits give a prompt token's logprob; the first is for prompt_scored + 1
  bool samples = false;           // the last row yields the next token
};

// KV to be copied before the step: a block whose beginning is reused and whose rest will differ.
struct BlockCopy {
  BlockIndex from = 0;
  BlockIndex to = 0;
};

struct StepPlan {
  model::Batch batch;
  std::span<const PlannedSequence> sequences;  // one for each of batch.sequences
  std::span<const BlockCopy> copies;
};

struct SampledToken {
  TokenId token = 0;
  float logprob = 0;                              // when asked for, else 0
  std::span<const generation::TokenLogprob> top;  // most likely first
  std::span<const float> logits;                  // of a prompt token: [vocab], the row that it was scored by
};

// A step may yield none, one or several tokens for a sequence: after the one that is sampled come those that its
// grammar then forces.
struct SampledSequence {
  std::span<const SampledToken> scored;  // prompt tokens with their logprobs
  std::span<const SampledToken> tokens;  // of the answer
  bool is_complete = false;              // the grammar allows nothing more
  std::optional<Error> error;            // this sequence alone ends with it
};

using Sampled = std::span<const SampledSequence>;  // one for each of StepPlan::sequences

}  // namespace autoglm::engine

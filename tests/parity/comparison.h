// SPDX-License-Identifier: Apache-2.0
// How near computed logits are to golden ones, and greedy decoding on a bare network. For the parity tests.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "kernels/ops.h"
#include "model/evaluate.h"
#include "model/language_model.h"
#include "parity/golden.h"

namespace autoglm::parity {

/// Loads the golden's model; a refusal ends the test program.
std::unique_ptr<model::LanguageModel> load(const Golden& golden, kernels::Isa isa, kernels::Compute compute,
                                           int threads = 1);

float largest_difference(std::span<const float> got, std::span<const float> expected);
double root_mean_square_difference(std::span<const float> got, std::span<const float> expected);
double cosine(std::span<const float> a, std::span<const float> b);
model::TokenId best_of(std::span<const float> logits);

/// The logits at `top_ids`.
std::vector<float> pick(std::span<const float> logits, std::span<const model::TokenId> top_ids);

/// Appends `ids` in steps that fit and gives the last position's logits; `rows_of_step` 0 = as many as fit.
std::vector<float> last_logits(model::SoloSequence& sequence, std::span<const model::TokenId> ids,
                               std::size_t rows_of_step = 0);

/// Greedy tokens after `logits`, as many as `count`.
std::vector<model::TokenId> decode_greedily(model::SoloSequence& sequence, std::vector<float> logits,
                                            std::size_t count);

/// How many golden greedy tokens come before the first whose gap is below `narrow`: only those must be equal.
std::size_t certain_greedy(const GoldenPrompt& prompt, float narrow);

}  // namespace autoglm::parity

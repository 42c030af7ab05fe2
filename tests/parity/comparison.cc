// SPDX-License-Identifier: Apache-2.0
#include "parity/comparison.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "model/load.h"

namespace autoglm::parity {

std::unique_ptr<model::LanguageModel> load(const Golden& golden, kernels::Isa isa, kernels::Compute compute,
                                           int threads) {
  auto network = model::load_network(golden.model, {.isa = isa, .compute = compute, .threads = threads});
  CHECK(network) << network.error().message;
  return std::move(*network);
}

float largest_difference(std::span<const float> got, std::span<const float> expected) {
  CHECK(got.size() == expected.size()) << got.size() << " logits; expected " << expected.size();
  float largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    // Not std::max: a NaN must count as far away.
    const float difference = std::fabs(got[i] - expected[i]);
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

double root_mean_square_difference(std::span<const float> got, std::span<const float> expected) {
  CHECK(got.size() == expected.size());
  double sum = 0;
  for (std::size_t i = 0; i < got.size(); ++i) sum += std::pow(static_cast<double>(got[i]) - expected[i], 2);
  return std::sqrt(sum / static_cast<double>(got.size()));
}

double cosine(std::span<const float> a, std::span<const float> b) {
  CHECK(a.size() == b.size());
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

model::TokenId best_of(std::span<const float> logits) {
  return static_cast<model::TokenId>(std::ranges::max_element(logits) - logits.begin());
}

std::vector<float> pick(std::span<const float> logits, std::span<const model::TokenId> top_ids) {
  std::vector<float> picked;
  for (const model::TokenId id : top_ids) picked.push_back(logits[static_cast<std::size_t>(id)]);
  return picked;
}

std::vector<float> last_logits(model::SoloSequence& sequence, std::span<const model::TokenId> ids,
                               std::size_t rows_of_step) {
  const std::size_t most = rows_of_step == 0 ? sequence.max_rows() : rows_of_step;
  model::Logits logits;
  while (!ids.empty()) {
    const std::size_t count = std::min(most, ids.size());
    logits = sequence.append(ids.first(count), model::SoloSequence::Want::kLast);
    ids = ids.subspan(count);
  }
  return {logits.data, logits.data + logits.vocab};
}

std::vector<model::TokenId> decode_greedily(model::SoloSequence& sequence, std::vector<float> logits,
                                            std::size_t count) {
  std::vector<model::TokenId> tokens;
  while (tokens.size() < count) {
    tokens.push_back(best_of(logits));
    if (tokens.size() < count) logits = last_logits(sequence, {&tokens.back(), 1});
  }
  return tokens;
}

std::size_t certain_greedy(const GoldenPrompt& prompt, float narrow) {
  const auto first = std::ranges::find_if(prompt.greedy_gap, [&](float gap) { return gap < narrow; });
  return static_cast<std::size_t>(first - prompt.greedy_gap.begin());
}

}  // namespace autoglm::parity

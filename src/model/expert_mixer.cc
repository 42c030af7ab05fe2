// SPDX-License-Identifier: Apache-2.0
#include "model/expert_mixer.h"

#include <algorithm>

#include "model/scratch.h"

namespace autoglm::model {

using kernels::Activations;
using kernels::LinearJob;
using kernels::Tensor;
using telemetry::Stage;

std::size_t ExpertMixer::arena_bytes(const ModelConfig& config, std::size_t rows) {
  const ExpertConfig& experts = config.experts;
  if (experts.count == 0) return 0;
  const std::size_t chosen = taken(rows * experts.used * sizeof(std::uint32_t));  // as many bytes as their weights
  return taken_f32(rows, experts.count) + 4 * chosen + taken((experts.count + 1) * sizeof(std::uint32_t)) +
         taken_prepared(rows, config.hidden) + taken_gated(rows, experts.feed_forward, config.hidden);
}

void ExpertMixer::add(std::size_t layer, const LayerWeights& weights, const Activations& normed, const Tensor& hidden,
                      telemetry::StageTimer& time) {
  time.next(Stage::kRoute);
  const Groups groups = choose(weights, normed);
  for (std::size_t expert = 0; expert < config_.experts.count; ++expert) {
    if (groups.first[expert] != groups.first[expert + 1]) run(layer, expert, normed, hidden, groups, time);
  }
}

ExpertMixer::Groups ExpertMixer::choose(const LayerWeights& weights, const Activations& normed) {
  const ExpertConfig& experts = config_.experts;
  kernels::Arena& arena = ops_.arena();
  const std::size_t pairs = normed.rows * experts.used;
  const Tensor scores = arena.take_f32(normed.rows, experts.count);
  const LinearJob job = weights.router.job(scores);
  ops_.linear(normed, {&job, 1});
  auto* const chosen = arena.take_array<std::uint32_t>(pairs);
  auto* const shares = arena.take_array<float>(pairs);
  ops_.route({.logits = scores,
              .bias = weights.router_bias.empty() ? nullptr : weights.router_bias.data(),
              .gating = experts.gating,
              .groups = experts.groups,
              .groups_used = experts.groups_used,
              .used = experts.used,
              .is_normalised = experts.is_normalised,
              .scale = static_cast<float>(experts.scale),
              .experts = chosen,
              .weights = shares});

  auto* const first = arena.take_array<std::uint32_t>(experts.count + 1);
  auto* const rows = arena.take_array<std::uint32_t>(pairs);
  auto* const weights_by_expert = arena.take_array<float>(pairs);
  std::fill_n(first, experts.count + 1, 0u);
  for (std::size_t i = 0; i < pairs; ++i) ++first[chosen[i]];
  std::uint32_t end = 0;
  for (std::size_t e = 0; e <= experts.count; ++e) first[e] = end += first[e];
  for (std::size_t i = pairs; i-- > 0;) {  // backwards from where each expert's end, down to where they begin
    const std::uint32_t place = --first[chosen[i]];
    rows[place] = static_cast<std::uint32_t>(i / experts.used);
    weights_by_expert[place] = shares[i];
  }
  return {.first = first, .rows = rows, .weights = weights_by_expert};
}

void ExpertMixer::run(std::size_t layer, std::size_t expert, const Activations& in, const Tensor& hidden,
                      const Groups& groups, telemetry::StageTimer& time) {
  kernels::Arena& arena = ops_.arena();
  const std::size_t mark = arena.mark();
  const std::span rows(groups.rows + groups.first[expert], groups.rows + groups.first[expert + 1]);
  const Expert* weights = experts_.find(layer, expert);
  if (weights == nullptr) {
    time.next(Stage::kPackExperts);
    weights = &experts_.use(layer, expert);
  }
  time.next(Stage::kFfnGateUp);
  const Activations picked = ops_.pick(in, rows, forms_of(ops_, weights->gate, weights->up));
  const Tensor gate = arena.take_f32(rows.size(), config_.experts.feed_forward);
  const Tensor up = arena.take_f32(rows.size(), config_.experts.feed_forward);
  const LinearJob jobs[] = {weights->gate.job(gate), weights->up.job(up)};
  ops_.linear(picked, jobs);
  time.next(Stage::kFfnActivation);
  const Activations gated = ops_.gated_prepare(gate, up, config_.activation, forms_of(ops_, weights->down));
  time.next(Stage::kFfnDown);
  const Tensor out = arena.take_f32(rows.size(), config_.hidden);
  const LinearJob down = weights->down.job(out);
  ops_.linear(gated, {&down, 1});
  ops_.add_scaled(hidden, out, rows, groups.weights + groups.first[expert]);
  arena.reset(mark);
}

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
#include "model/config.h"

#include <algorithm>
#include <sstream>

namespace autoglm::model {
namespace {

std::string text(double value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

Status check_yarn(const kernels::RopeDescription& rope) {
  const kernels::YarnScaling& yarn = *rope.yarn;
  TRY(in_range(yarn.factor, ranges::kRopeFactor));
  TRY(in_range(yarn.fast_turns, ranges::kRopeTurns));
  TRY(in_range(yarn.slow_turns, ranges::kRopeTurns));
  TRY(in_range(yarn.original_context, ranges::kOriginalContext));
  if (yarn.fast_turns <= yarn.slow_turns) return refuse("the rope scaling's beta_fast must be above its beta_slow");
  if (rope.theta <= 1) return refuse("a yarn rope needs a theta above 1");
  return {};
}

Status check_rope(const kernels::RopeDescription& rope, std::size_t head_dim) {
  if (rope.rotary_dim < 2 || rope.rotary_dim % 2 != 0 || rope.rotary_dim > head_dim) {
    return refuse("a rope of " + std::to_string(rope.rotary_dim) + " dimensions does not fit heads of " +
                  std::to_string(head_dim));
  }
  TRY(in_range(rope.theta, ranges::kTheta));
  TRY(in_range(rope.linear_factor, ranges::kRopeFactor));
  TRY(in_range(rope.attention_factor, ranges::kRopeFactor));
  for (const std::vector<float>* divisors : {&rope.frequency_divisors, &rope.long_divisors}) {
    if (!divisors->empty() && divisors->size() != rope.rotary_dim / 2) {
      return refuse("the rope has " + std::to_string(divisors->size()) + " factors for " +
                    std::to_string(rope.rotary_dim) + " dimensions");
    }
    for (const float divisor : *divisors) TRY(in_range(double{divisor}, ranges::kRopeFactor));
  }
  if (!rope.long_divisors.empty()) TRY(in_range(std::uint64_t{rope.short_positions}, ranges::kContext));
  if (rope.yarn) TRY(check_yarn(rope));
  if (!rope.llama3) return {};
  TRY(in_range(rope.llama3->factor, ranges::kRopeFactor));
  TRY(in_range(rope.llama3->low_frequency_factor, ranges::kRopeFactor));
  TRY(in_range(rope.llama3->high_frequency_factor, ranges::kRopeFactor));
  TRY(in_range(rope.llama3->original_context, ranges::kOriginalContext));
  if (rope.llama3->high_frequency_factor <= rope.llama3->low_frequency_factor) {
    return refuse("the rope scaling's high_freq_factor must be above its low_freq_factor");
  }
  return {};
}

// Of a model whose layers have experts.
Status check_experts(const ExpertConfig& experts) {
  TRY(in_range(experts.count, ranges::kExperts));
  TRY(in_range(experts.used, ranges::kExpertsUsed));
  TRY(in_range(experts.feed_forward, ranges::kExpertFeedForward));
  if (experts.shared_feed_forward > 0) TRY(in_range(experts.shared_feed_forward, ranges::kFeedForward));
  TRY(in_range(experts.groups, ranges::kExpertGroups));
  TRY(in_range(experts.groups_used, ranges::kExpertGroups));
  TRY(in_range(experts.scale, ranges::kExpertScale));
  const auto number = [](std::size_t value) { return std::to_string(value); };
  if (experts.used > experts.count) {
    return refuse("the checkpoint chooses " + number(experts.used) + " experts for a token, but has " +
                  number(experts.count));
  }
  if (experts.groups == 1 && experts.groups_used == 1) return {};
  const std::size_t size = experts.count / experts.groups;
  if (experts.count % experts.groups != 0 || size < 2) {
    return refuse(number(experts.count) + " experts do not divide into " + number(experts.groups) +
                  " groups of at least two");
  }
  if (experts.groups_used > experts.groups || experts.used > experts.groups_used * size) {
    return refuse("the checkpoint chooses " + number(experts.used) + " experts from " + number(experts.groups_used) +
                  " groups, but has " + number(experts.groups) + " groups of " + number(size));
  }
  return {};
}

}  // namespace

Result<std::size_t> in_range(std::uint64_t value, const CountRange& range) {
  if (value < range.min || value > range.max) {
    return refuse("the checkpoint's " + std::string(range.name) + " is " + std::to_string(value) +
                  "; it must be from " + std::to_string(range.min) + " to " + std::to_string(range.max));
  }
  return static_cast<std::size_t>(value);
}

Result<double> in_range(double value, const NumberRange& range) {
  if (!(value >= range.min && value <= range.max)) {
    return refuse("the checkpoint's " + std::string(range.name) + " is " + text(value) + "; it must be from " +
                  text(range.min) + " to " + text(range.max));
  }
  return value;
}

void stretch_context(ModelConfig& config) {
  for (const kernels::RopeDescription& rope : config.ropes) {
    if (!rope.yarn) continue;
    const double length =
        std::min(rope.yarn->original_context * rope.yarn->factor, static_cast<double>(ranges::kContext.max));
    config.context_length = std::max(config.context_length, static_cast<std::size_t>(std::max(length, 0.0)));
  }
}

Status check_config(const ModelConfig& config) {
  TRY(in_range(config.vocab, ranges::kVocab));
  TRY(in_range(config.hidden, ranges::kHidden));
  TRY(in_range(config.layers.size(), ranges::kLayers));
  TRY(in_range(config.heads, ranges::kHeads));
  TRY(in_range(config.kv_heads, ranges::kKvHeads));
  TRY(in_range(config.head_dim, ranges::kHeadDim));
  TRY(in_range(config.feed_forward, ranges::kFeedForward));
  TRY(in_range(config.context_length, ranges::kContext));
  TRY(in_range(config.norm_eps, ranges::kNormEps));
  TRY(in_range(config.attention_scale, ranges::kScalar));
  TRY(in_range(config.embedding_scale, ranges::kScalar));
  TRY(in_range(config.attention_softcap, ranges::kSoftcap));
  TRY(in_range(config.logit_softcap, ranges::kSoftcap));
  if (config.heads % config.kv_heads != 0) {
    return refuse(std::to_string(config.heads) + " attention heads cannot share " + std::to_string(config.kv_heads) +
                  " key-value heads evenly");
  }
  if (config.head_dim % 2 != 0) return refuse("a head dimension of " + std::to_string(config.head_dim) + " is odd");
  for (const kernels::RopeDescription& rope : config.ropes) {
    TRY(check_rope(rope, config.head_dim));
    if (rope.long_divisors.empty() != (config.short_context() == 0) ||
        (config.short_context() != 0 && rope.short_positions != config.short_context())) {
      return refuse("ropes of several layers that differ in what is a long text are not supported");
    }
  }
  const bool has_experts = std::ranges::any_of(config.layers, &LayerConfig::has_experts);
  if (has_experts || config.experts.count > 0) TRY(check_experts(config.experts));
  TRY(in_range(config.skipped_layers, ranges::kSkippedLayers));
  for (const LayerConfig& layer : config.layers) {
    if (layer.rope >= config.ropes.size()) return refuse("a layer names a rope that is not there");
    if (layer.window > ranges::kWindow.max) return refuse("a sliding window is too long");
  }
  return {};
}

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
#include "model/families/gguf_config.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/log.h"
#include "model/families/tensor_names.h"

namespace autoglm::model {
namespace {

// The divisors of a rope's frequencies in a tensor: those that a converter computed beforehand (Llama 3's stretching),
// or one of the two lists of longrope.
Result<std::vector<float>> read_divisors(const GgufFile& file, std::string_view name, std::size_t rotary_dim) {
  const StoredTensor* const tensor = file.find_tensor(std::string(name) + ".weight");
  if (tensor == nullptr) return std::vector<float>();
  if (tensor->type != kernels::DType::kF32 || tensor->rank != 1 || tensor->shape[0] != rotary_dim / 2) {
    return refuse("tensor \"" + std::string(name) + ".weight\" is " + tensor->type_text() + " " + tensor->shape_text() +
                  "; expected F32 [" + std::to_string(rotary_dim / 2) + "]");
  }
  std::vector<float> divisors(rotary_dim / 2);
  std::memcpy(divisors.data(), tensor->bytes.data(), tensor->bytes.size());
  return divisors;
}

Status read_longrope(const GgufFile& file, const ModelConfig& config, kernels::RopeDescription& rope) {
  rope.long_divisors = TRY(read_divisors(file, gguf_names().long_rope_factors, rope.rotary_dim));
  if (rope.long_divisors.empty()) return {};
  rope.frequency_divisors = TRY(read_divisors(file, gguf_names().short_rope_factors, rope.rotary_dim));
  if (rope.frequency_divisors.empty()) return fail(Code::kCorrupt, "the GGUF has long rope factors and no short ones");
  constexpr CountRange kOriginal{"rope scaling's original context", 2, ranges::kContext.max};
  const auto original = TRY(find_count(file, "rope.scaling.original_context_length", kOriginal));
  rope.short_positions = original.value_or(config.context_length);
  const double stretched = static_cast<double>(config.context_length) / static_cast<double>(rope.short_positions);
  const auto factor = TRY(find_number(file, "rope.scaling.attn_factor", ranges::kRopeFactor));
  rope.attention_factor = factor.value_or(kernels::longrope_attention_factor(stretched, rope.short_positions));
  return {};
}

// Source of the keys and of what absent ones mean: llama.cpp, llama-arch.cpp, llama-hparams.h and conversion/base.py.
Status read_yarn(const GgufFile& file, const ModelConfig& config, kernels::RopeDescription& rope) {
  kernels::YarnScaling yarn;
  const auto factor = TRY(find_number(file, "rope.scaling.factor", ranges::kRopeFactor));
  if (!factor) return fail(Code::kCorrupt, "the rope scaling is yarn, but the GGUF has no factor of it");
  yarn.factor = *factor;
  const auto original = TRY(find_count(file, "rope.scaling.original_context_length", ranges::kContext));
  yarn.original_context = static_cast<double>(original.value_or(config.context_length));
  yarn.fast_turns = TRY(find_number(file, "rope.scaling.yarn_beta_fast", ranges::kRopeTurns)).value_or(yarn.fast_turns);
  yarn.slow_turns = TRY(find_number(file, "rope.scaling.yarn_beta_slow", ranges::kRopeTurns)).value_or(yarn.slow_turns);
  constexpr NumberRange kAny{"rope scaling's share of the blend", -1e6, 1e6};
  const double share = TRY(find_number(file, "rope.scaling.yarn_ext_factor", kAny)).value_or(1);
  const double log_scale = TRY(find_number(file, "rope.scaling.yarn_log_multiplier", kAny)).value_or(0);
  if (share >= 0 && share != 1) return refuse("a yarn rope of which a part alone is blended is not supported");
  if (log_scale != 0) return refuse("a yarn rope with DeepSeek's logarithm is not supported");
  const auto attention = TRY(find_number(file, "rope.scaling.yarn_attn_factor", ranges::kRopeFactor));
  rope.attention_factor = attention.value_or(kernels::yarn_attention_factor(yarn.factor));
  rope.yarn = yarn;
  return {};
}

Result<kernels::RopeDescription> read_rope(const GgufFile& file, const ModelConfig& config, kernels::RopeStyle style) {
  kernels::RopeDescription rope;
  rope.style = style;
  rope.theta = TRY(find_number(file, "rope.freq_base", ranges::kTheta)).value_or(10'000);
  rope.rotary_dim = TRY(find_count(file, "rope.dimension_count", ranges::kHeadDim)).value_or(config.head_dim);
  const auto scaling = TRY(file.find_string(architecture_key(file, "rope.scaling.type"))).value_or("none");
  // rope.scale_linear is the older spelling.
  rope.linear_factor = TRY(find_number(file, "rope.scale_linear", ranges::kRopeFactor)).value_or(1);
  if (scaling == "linear") {
    const auto factor = TRY(find_number(file, "rope.scaling.factor", ranges::kRopeFactor));
    rope.linear_factor = factor.value_or(rope.linear_factor);
  } else if (scaling == "yarn") {
    TRY(read_yarn(file, config, rope));
  } else if (scaling != "none" && scaling != "longrope") {
    return refuse("the rope scaling \"" + base::printable(scaling) +
                  "\" is not supported; none, linear, longrope and yarn are");
  }
  rope.frequency_divisors = TRY(read_divisors(file, gguf_names().rope_factors, rope.rotary_dim));
  TRY(read_longrope(file, config, rope));
  if (scaling == "longrope" && rope.long_divisors.empty()) {
    return fail(Code::kCorrupt, "the rope scaling is longrope, but the GGUF has no factors for it");
  }
  return rope;
}

// Vocabulary and optional parts follow from the tensors that are there.
Status read_parts(const GgufFile& file, ModelConfig& config) {
  const StoredTensor* const embedding = file.find_tensor("token_embd.weight");
  if (embedding == nullptr || embedding->rank != 2) {
    return fail(Code::kCorrupt, "the GGUF has no tensor \"token_embd.weight\" of two dimensions");
  }
  config.vocab = TRY(in_range(embedding->shape[0], ranges::kVocab));
  config.has_tied_head = file.find_tensor("output.weight") == nullptr;
  config.has_qkv_bias =
      file.find_tensor("blk.0.attn_q.bias") != nullptr || file.find_tensor("blk.0.attn_qkv.bias") != nullptr;
  config.has_output_bias = file.find_tensor("blk.0.attn_output.bias") != nullptr;
  config.has_mlp_bias = file.find_tensor("blk.0.ffn_gate.bias") != nullptr;
  config.has_qk_norm = file.find_tensor("blk.0.attn_q_norm.weight") != nullptr;
  return {};
}

}  // namespace

std::string architecture_key(const GgufFile& file, std::string_view suffix) {
  const auto architecture = file.find_string("general.architecture");
  return std::string(architecture ? architecture->value_or("") : "") + "." + std::string(suffix);
}

Result<std::optional<std::size_t>> find_count(const GgufFile& file, std::string_view suffix, const CountRange& range) {
  const auto value = TRY(file.find_uint(architecture_key(file, suffix)));
  if (!value) return std::nullopt;
  return TRY(in_range(*value, range));
}

Result<std::size_t> get_count(const GgufFile& file, std::string_view suffix, const CountRange& range) {
  return in_range(TRY(file.get_uint(architecture_key(file, suffix))), range);
}

namespace {

// Source of the numbers: gguf-py, constants.py, ExpertGatingFuncType.
Result<kernels::Gating> read_gating(const GgufFile& file, kernels::Gating absent) {
  const std::uint64_t number = TRY(file.find_uint(architecture_key(file, "expert_gating_func"))).value_or(0);
  if (number == 0) return absent;
  if (number == 1) return kernels::Gating::kSoftmax;
  if (number == 2) return kernels::Gating::kSigmoid;
  return refuse("the gating function " + std::to_string(number) +
                " of experts is not supported; 1 (softmax) and 2 (sigmoid) are");
}

}  // namespace

Status read_gguf_experts(const GgufFile& file, const ExpertConfig& absent, ModelConfig& config) {
  ExpertConfig experts = absent;
  experts.count = TRY(get_count(file, "expert_count", ranges::kExperts));
  experts.used = TRY(get_count(file, "expert_used_count", ranges::kExpertsUsed));
  experts.feed_forward = TRY(get_count(file, "expert_feed_forward_length", ranges::kExpertFeedForward));
  const auto shared = TRY(find_count(file, "expert_shared_count", ranges::kSharedExperts));
  experts.shared_feed_forward = shared.value_or(0) * experts.feed_forward;
  experts.gating = TRY(read_gating(file, absent.gating));
  constexpr CountRange kOrNone{ranges::kExpertGroups.name, 0, ranges::kExpertGroups.max};
  const auto at_least_one = [](std::optional<std::size_t> groups) {
    return std::max<std::size_t>(groups.value_or(1), 1);
  };
  experts.groups = at_least_one(TRY(find_count(file, "expert_group_count", kOrNone)));
  experts.groups_used = at_least_one(TRY(find_count(file, "expert_group_used_count", kOrNone)));
  experts.is_normalised =
      TRY(file.find_bool(architecture_key(file, "expert_weights_norm"))).value_or(absent.is_normalised);
  constexpr NumberRange kOrZero{ranges::kExpertScale.name, 0, ranges::kExpertScale.max};
  const double scale = TRY(find_number(file, "expert_weights_scale", kOrZero)).value_or(0);
  if (scale != 0) experts.scale = scale;  // converters write 0 for none
  config.experts = experts;

  config.skipped_layers = TRY(find_count(file, "nextn_predict_layers", ranges::kSkippedLayers)).value_or(0);
  if (config.skipped_layers >= config.layers.size()) {
    return refuse("of " + std::to_string(config.layers.size()) + " layers " + std::to_string(config.skipped_layers) +
                  " are to guess ahead, which leaves none");
  }
  config.layers.resize(config.layers.size() - config.skipped_layers);
  const auto dense = TRY(find_count(file, "leading_dense_block_count", ranges::kDenseLayers)).value_or(0);
  for (std::size_t i = dense; i < config.layers.size(); ++i) config.layers[i].has_experts = true;
  return {};
}

Result<std::optional<double>> find_number(const GgufFile& file, std::string_view suffix, const NumberRange& range) {
  const auto value = TRY(file.find_float(architecture_key(file, suffix)));
  if (!value) return std::nullopt;
  return TRY(in_range(*value, range));
}

Result<ModelConfig> read_gguf_config(const GgufFile& file, kernels::RopeStyle style, bool may_have_experts) {
  if (!may_have_experts && TRY(file.find_uint(architecture_key(file, "expert_count"))).value_or(0) > 0) {
    return refuse("the checkpoint is a mixture of experts, which this family has not");
  }
  if (!TRY(file.find_bool(architecture_key(file, "attention.causal"))).value_or(true)) {
    return refuse("the checkpoint attends in both directions, which is not supported");
  }
  ModelConfig config;
  config.architecture = TRY(file.get_string("general.architecture"));
  config.hidden = TRY(get_count(file, "embedding_length", ranges::kHidden));
  config.layers.resize(TRY(get_count(file, "block_count", ranges::kLayers)));
  config.heads = TRY(get_count(file, "attention.head_count", ranges::kHeads));
  config.kv_heads = TRY(find_count(file, "attention.head_count_kv", ranges::kKvHeads)).value_or(config.heads);
  const auto head_dim = TRY(find_count(file, "attention.key_length", ranges::kHeadDim));
  config.head_dim = TRY(in_range(head_dim.value_or(config.hidden / config.heads), ranges::kHeadDim));
  const auto value_dim = TRY(find_count(file, "attention.value_length", ranges::kHeadDim)).value_or(config.head_dim);
  if (value_dim != config.head_dim) {
    return refuse("values of " + std::to_string(value_dim) + " dimensions beside keys of " +
                  std::to_string(config.head_dim) + " are not supported");
  }
  config.feed_forward = TRY(get_count(file, "feed_forward_length", ranges::kFeedForward));
  config.context_length = TRY(get_count(file, "context_length", ranges::kContext));
  const double eps = TRY(file.get_float(architecture_key(file, "attention.layer_norm_rms_epsilon")));
  config.norm_eps = TRY(in_range(eps, ranges::kNormEps));
  config.attention_scale = 1 / std::sqrt(static_cast<double>(config.head_dim));
  TRY(read_parts(file, config));
  config.ropes.push_back(TRY(read_rope(file, config, style)));
  stretch_context(config);
  return config;
}

}  // namespace autoglm::model

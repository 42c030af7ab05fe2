// SPDX-License-Identifier: Apache-2.0
// GLM-4.5, 4.5-Air, 4.6 and 4.7: after the first layers a sigmoid and a bias that only chooses pick experts from
// groups, beside one that every token meets. Layers behind the last, which guess tokens ahead, are not run. Source:
// GLM-4.5 report, arXiv:2508.06471; transformers, configuration_glm4_moe.py and modeling_glm4_moe.py.
#include "model/families/family.h"
#include "model/families/gguf_config.h"
#include "model/families/json_config.h"

namespace autoglm::model {
namespace {

Result<ModelConfig> from_gguf(const GgufFile& file) {
  ModelConfig result = TRY(read_gguf_config(file, kernels::RopeStyle::kHalves, true));
  TRY(read_gguf_experts(file, {.gating = kernels::Gating::kSigmoid, .has_bias = true}, result));
  return result;
}

Result<ExpertConfig> read_experts(const json::Object& config) {
  ExpertConfig experts{.gating = kernels::Gating::kSigmoid, .has_bias = true};
  auto count = TRY(find_count(config, "n_routed_experts", ranges::kExperts));
  if (!count) count = TRY(find_count(config, "num_local_experts", ranges::kExperts));
  experts.count = count.value_or(128);
  experts.used = TRY(find_count(config, "num_experts_per_tok", ranges::kExpertsUsed)).value_or(8);
  experts.feed_forward = TRY(find_count(config, "moe_intermediate_size", ranges::kExpertFeedForward)).value_or(1'408);
  const auto shared = TRY(find_count(config, "n_shared_experts", ranges::kSharedExperts));
  experts.shared_feed_forward = shared.value_or(1) * experts.feed_forward;
  experts.groups = TRY(find_count(config, "n_group", ranges::kExpertGroups)).value_or(1);
  experts.groups_used = TRY(find_count(config, "topk_group", ranges::kExpertGroups)).value_or(1);
  experts.is_normalised = TRY(find_flag(config, "norm_topk_prob")).value_or(true);
  experts.scale = TRY(find_number(config, "routed_scaling_factor", ranges::kExpertScale)).value_or(1);
  return experts;
}

Result<ModelConfig> from_json(const json::Object& config) {
  constexpr JsonDefaults kDefaults = {
      .kv_heads = 8, .context_length = 131'072, .norm_eps = 1e-5, .rotary_share = 0.5, .may_have_experts = true};
  ModelConfig result = TRY(read_json_config(config, kDefaults));
  result.has_qkv_bias = TRY(find_flag(config, "attention_bias")).value_or(false);
  result.has_qk_norm = TRY(find_flag(config, "use_qk_norm")).value_or(false);
  result.experts = TRY(read_experts(config));
  const auto dense = TRY(find_count(config, "first_k_dense_replace", ranges::kDenseLayers)).value_or(1);
  for (std::size_t i = dense; i < result.layers.size(); ++i) result.layers[i].has_experts = true;
  auto skipped = TRY(find_count(config, "num_nextn_predict_layers", ranges::kSkippedLayers));
  if (!skipped) skipped = TRY(find_count(config, "num_mtp_layers", ranges::kSkippedLayers));
  result.skipped_layers = skipped.value_or(1);
  return result;
}

// Here the norm behind attention is the one before the MLP.
const TensorNames& own_gguf_names() {
  static const TensorNames kNames = [] {
    TensorNames result = gguf_names();
    result.mlp_norm = result.post_attention_norm;
    return result;
  }();
  return kNames;
}

}  // namespace

const Family kGlm4Moe{
    .name = "GLM-4.5, 4.6, 4.7",
    .note =
        "experts from groups by a sigmoid and a bias, one that every token meets, dense first layers; layers that "
        "guess ahead are not run",
    .architecture = "glm4moe",
    .model_type = "glm4_moe",
    .from_gguf = from_gguf,
    .from_json = from_json,
    .json_names = llama_style_names,
    .own_gguf_names = own_gguf_names,
};

}  // namespace autoglm::model

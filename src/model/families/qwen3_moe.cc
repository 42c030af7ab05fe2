// SPDX-License-Identifier: Apache-2.0
// Qwen3 with experts: in most layers a softmax over all experts chooses a few. Source: Qwen3 report, arXiv:2505.09388;
// transformers, configuration_qwen3_moe.py and modeling_qwen3_moe.py.
#include "model/families/family.h"
#include "model/families/gguf_config.h"
#include "model/families/json_config.h"

namespace autoglm::model {
namespace {

Result<ModelConfig> from_gguf(const GgufFile& file) {
  ModelConfig result = TRY(read_gguf_config(file, kernels::RopeStyle::kHalves, true));
  result.has_qk_norm = true;
  TRY(read_gguf_experts(file, {.is_normalised = true}, result));
  // No key says which layers have an MLP of their own in place of experts.
  for (std::size_t i = 0; i < result.layers.size(); ++i) {
    if (file.find_tensor(layer_name(gguf_names().gate, i) + ".weight") != nullptr) result.layers[i].has_experts = false;
  }
  return result;
}

// Every `decoder_sparse_step`th layer has experts, but for those in `mlp_only_layers`.
Status read_sparse_layers(const json::Object& config, ModelConfig& result) {
  constexpr CountRange kStep{"decoder_sparse_step", 1, 1'024};
  const std::size_t step = TRY(find_count(config, "decoder_sparse_step", kStep)).value_or(1);
  for (std::size_t i = step - 1; i < result.layers.size(); i += step) result.layers[i].has_experts = true;
  const json::Value* const dense = config.if_contains("mlp_only_layers");
  if (dense == nullptr || dense->is_null()) return {};
  const auto wrong = [] {
    return fail(Code::kCorrupt, "config.json: \"mlp_only_layers\" is not an array of layers' indices");
  };
  if (!dense->is_array()) return wrong();
  for (const json::Value& entry : dense->get_array()) {
    if (!entry.is_int64() || entry.get_int64() < 0) return wrong();
    const auto index = static_cast<std::size_t>(entry.get_int64());
    if (index < result.layers.size()) result.layers[index].has_experts = false;
  }
  return {};
}

Result<ModelConfig> from_json(const json::Object& config) {
  ModelConfig result =
      TRY(read_json_config(config, {.kv_heads = 4, .context_length = 32'768, .may_have_experts = true}));
  result.has_qk_norm = true;
  result.has_qkv_bias = TRY(find_flag(config, "attention_bias")).value_or(false);
  result.has_output_bias = result.has_qkv_bias;
  if (TRY(find_flag(config, "use_sliding_window")).value_or(false)) TRY(read_one_window(config, 4'096, result));
  auto count = TRY(find_count(config, "num_experts", ranges::kExperts));
  if (!count) count = TRY(find_count(config, "num_local_experts", ranges::kExperts));
  result.experts.count = count.value_or(128);
  result.experts.used = TRY(find_count(config, "num_experts_per_tok", ranges::kExpertsUsed)).value_or(8);
  result.experts.feed_forward =
      TRY(find_count(config, "moe_intermediate_size", ranges::kExpertFeedForward)).value_or(768);
  result.experts.is_normalised = TRY(find_flag(config, "norm_topk_prob")).value_or(false);
  TRY(read_sparse_layers(config, result));
  return result;
}

}  // namespace

const Family kQwen3Moe{
    .name = "Qwen3 with experts",
    .note = "Qwen3 whose layers choose a few of many MLPs for each token",
    .architecture = "qwen3moe",
    .model_type = "qwen3_moe",
    .from_gguf = from_gguf,
    .from_json = from_json,
    .json_names = llama_style_names,
};

}  // namespace autoglm::model

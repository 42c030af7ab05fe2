// SPDX-License-Identifier: Apache-2.0
// Gemma 3 (text): scaled embeddings, norms before and after attention and MLP whose weight is stored as w - 1, q and k
// norms, gated tanh-GELU, and layers that slide over a short window with a rope of their own. Source: Gemma 3 technical
// report, arXiv:2503.19786; transformers, modeling_gemma3.py.
#include <cmath>

#include "model/families/family.h"
#include "model/families/gguf_config.h"
#include "model/families/json_config.h"

namespace autoglm::model {
namespace {

constexpr double kLocalTheta = 10'000;
constexpr std::size_t kPattern = 6;       // every sixth layer sees everything
constexpr std::size_t kLayersOf27B = 62;  // the one size whose attention scale is not head_dim^-0.5
constexpr std::size_t kGlobalRope = 0;
constexpr std::size_t kLocalRope = 1;

void make_sliding(LayerConfig& layer, std::size_t window) {
  layer.window = window;
  layer.rope = kLocalRope;
}

void set_common(ModelConfig& config) {
  config.activation = kernels::Activation::kGeluTanh;
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden));
  config.has_qk_norm = true;
  config.has_post_norms = true;
}

// GGUF writes neither the local theta nor the pattern unless they differ; its norms have the 1 added already.
Result<ModelConfig> from_gguf(const GgufFile& file) {
  ModelConfig config = TRY(read_gguf_config(file, kernels::RopeStyle::kHalves));
  set_common(config);
  const double local_theta = TRY(find_number(file, "rope.freq_base_swa", ranges::kTheta)).value_or(kLocalTheta);
  config.ropes.push_back({.rotary_dim = config.ropes[kGlobalRope].rotary_dim, .theta = local_theta});
  const std::size_t window = TRY(get_count(file, "attention.sliding_window", ranges::kWindow));
  const std::size_t pattern =
      TRY(find_count(file, "attention.sliding_window_pattern", ranges::kWindowPattern)).value_or(kPattern);
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    if ((i + 1) % pattern != 0) make_sliding(config.layers[i], window);
  }
  if (config.layers.size() == kLayersOf27B) {
    config.attention_scale = 1 / std::sqrt(static_cast<double>(config.hidden) / static_cast<double>(config.heads));
  }
  config.attention_softcap = TRY(find_number(file, "attn_logit_softcapping", ranges::kSoftcap)).value_or(0);
  config.logit_softcap = TRY(find_number(file, "final_logit_softcapping", ranges::kSoftcap)).value_or(0);
  return config;
}

// The entry of `rope_parameters` for layers of this kind, or null. Configs that have none describe the global rope by
// `rope_theta` and `rope_scaling`, as other families do.
Result<const json::Object*> find_rope_of(const json::Object& config, std::string_view kind) {
  const json::Object* const by_layer = TRY(find_object(config, "rope_parameters"));
  return by_layer == nullptr ? nullptr : TRY(find_object(*by_layer, kind));
}

constexpr JsonDefaults kJsonDefaults = {
    .activation_key = "hidden_activation",
    .activation = "gelu_pytorch_tanh",
    .kv_heads = 4,
    .head_dim = 256,
    .context_length = 131'072,
    .is_tied = true,
    .theta = 1'000'000,
};

Result<ModelConfig> from_json(const json::Object& config) {
  ModelConfig result = TRY(read_json_config(config, kJsonDefaults));
  set_common(result);
  result.norm_offset = 1;
  result.has_qkv_bias = TRY(find_flag(config, "attention_bias")).value_or(false);
  result.has_output_bias = result.has_qkv_bias;
  const double scalar = TRY(find_number(config, "query_pre_attn_scalar", ranges::kScalar)).value_or(256);
  result.attention_scale = 1 / std::sqrt(scalar);
  result.attention_softcap = TRY(find_number(config, "attn_logit_softcapping", ranges::kSoftcap)).value_or(0);
  result.logit_softcap = TRY(find_number(config, "final_logit_softcapping", ranges::kSoftcap)).value_or(0);

  if (const json::Object* const rope = TRY(find_rope_of(config, "full_attention")); rope != nullptr) {
    result.ropes[kGlobalRope] = TRY(read_json_rope(config, rope, result.ropes[kGlobalRope].theta, result));
  }
  const json::Object* const local = TRY(find_rope_of(config, "sliding_attention"));
  const double local_theta = TRY(find_number(config, "rope_local_base_freq", ranges::kTheta)).value_or(kLocalTheta);
  result.ropes.push_back(TRY(read_json_rope(config, local, local_theta, result)));

  const std::size_t window = TRY(find_count(config, "sliding_window", ranges::kWindow)).value_or(4096);
  const std::size_t pattern =
      TRY(find_count(config, "sliding_window_pattern", ranges::kWindowPattern)).value_or(kPattern);
  const auto types = TRY(read_layer_types(config, result.layers.size()));
  for (std::size_t i = 0; i < result.layers.size(); ++i) {
    if (types ? (*types)[i] : (i + 1) % pattern != 0) make_sliding(result.layers[i], window);
  }
  return result;
}

const TensorNames& names() {
  static const TensorNames kNames = [] {
    TensorNames result = llama_style_names();
    result.post_attention_norm = "model.layers.{}.post_attention_layernorm";
    result.mlp_norm = "model.layers.{}.pre_feedforward_layernorm";
    result.post_mlp_norm = "model.layers.{}.post_feedforward_layernorm";
    return result;
  }();
  return kNames;
}

}  // namespace

const Family kGemma3{
    .name = "Gemma 3 (text)",
    .note = "sliding and full layers, two ropes, norms before and after",
    .architecture = "gemma3",
    .model_type = "gemma3_text",
    .from_gguf = from_gguf,
    .from_json = from_json,
    .json_names = names,
};

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
#include "model/families/glm_config.h"

#include "model/families/json_config.h"

namespace autoglm::model {

Result<ModelConfig> read_glm_config(const json::Object& config) {
  constexpr JsonDefaults kDefaults = {
      .kv_heads = 2, .head_dim = 128, .context_length = 131'072, .norm_eps = 1.5625e-7, .rotary_share = 0.5};
  ModelConfig result = TRY(read_json_config(config, kDefaults));
  result.ropes.front().style = kernels::RopeStyle::kInterleaved;
  result.has_qkv_bias = TRY(find_flag(config, "attention_bias")).value_or(false);
  return result;
}

const TensorNames& glm_style_names() {
  static const TensorNames kNames = [] {
    TensorNames result = llama_style_names();
    result.gate_up = "model.layers.{}.mlp.gate_up_proj";
    return result;
  }();
  return kNames;
}

const TensorNames& glm4_style_names() {
  static const TensorNames kNames = [] {
    TensorNames result = glm_style_names();
    result.post_attention_norm = "model.layers.{}.post_self_attn_layernorm";
    result.post_mlp_norm = "model.layers.{}.post_mlp_layernorm";
    return result;
  }();
  return kNames;
}

}  // namespace autoglm::model

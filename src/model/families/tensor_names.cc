// SPDX-License-Identifier: Apache-2.0
#include "model/families/tensor_names.h"

namespace autoglm::model {

const TensorNames& gguf_names() {
  static constexpr TensorNames kNames{
      .embedding = "token_embd",
      .final_norm = "output_norm",
      .head = "output",
      .rope_factors = "rope_freqs",
      .short_rope_factors = "rope_factors_short",
      .long_rope_factors = "rope_factors_long",
      .attention_norm = "blk.{}.attn_norm",
      .query = "blk.{}.attn_q",
      .key = "blk.{}.attn_k",
      .value = "blk.{}.attn_v",
      .output = "blk.{}.attn_output",
      .query_norm = "blk.{}.attn_q_norm",
      .key_norm = "blk.{}.attn_k_norm",
      .post_attention_norm = "blk.{}.post_attention_norm",
      .mlp_norm = "blk.{}.ffn_norm",
      .gate = "blk.{}.ffn_gate",
      .up = "blk.{}.ffn_up",
      .down = "blk.{}.ffn_down",
      .post_mlp_norm = "blk.{}.post_ffw_norm",
      .query_key_value = "blk.{}.attn_qkv",
      .gate_up = "blk.{}.ffn_up",
      .router = "blk.{}.ffn_gate_inp",
      .router_bias = "blk.{}.exp_probs_b.bias",
      .expert_gate = "blk.{}.ffn_gate_exps",
      .expert_up = "blk.{}.ffn_up_exps",
      .expert_down = "blk.{}.ffn_down_exps",
      .shared_gate = "blk.{}.ffn_gate_shexp",
      .shared_up = "blk.{}.ffn_up_shexp",
      .shared_down = "blk.{}.ffn_down_shexp",
      .layer = "blk.{}.",
  };
  return kNames;
}

const TensorNames& llama_style_names() {
  static constexpr TensorNames kNames{
      .embedding = "model.embed_tokens",
      .final_norm = "model.norm",
      .head = "lm_head",
      .attention_norm = "model.layers.{}.input_layernorm",
      .query = "model.layers.{}.self_attn.q_proj",
      .key = "model.layers.{}.self_attn.k_proj",
      .value = "model.layers.{}.self_attn.v_proj",
      .output = "model.layers.{}.self_attn.o_proj",
      .query_norm = "model.layers.{}.self_attn.q_norm",
      .key_norm = "model.layers.{}.self_attn.k_norm",
      .mlp_norm = "model.layers.{}.post_attention_layernorm",
      .gate = "model.layers.{}.mlp.gate_proj",
      .up = "model.layers.{}.mlp.up_proj",
      .down = "model.layers.{}.mlp.down_proj",
      .router = "model.layers.{}.mlp.gate",
      .router_bias = "model.layers.{}.mlp.gate.e_score_correction_bias",
      .expert_gate = "model.layers.{}.mlp.experts.{}.gate_proj",
      .expert_up = "model.layers.{}.mlp.experts.{}.up_proj",
      .expert_down = "model.layers.{}.mlp.experts.{}.down_proj",
      .shared_gate = "model.layers.{}.mlp.shared_experts.gate_proj",
      .shared_up = "model.layers.{}.mlp.shared_experts.up_proj",
      .shared_down = "model.layers.{}.mlp.shared_experts.down_proj",
      .layer = "model.layers.{}.",
  };
  return kNames;
}

std::string layer_name(std::string_view name, std::size_t layer) {
  const std::size_t place = name.find("{}");
  if (place == std::string_view::npos) return std::string(name);
  return std::string(name.substr(0, place)) + std::to_string(layer) + std::string(name.substr(place + 2));
}

}  // namespace autoglm::model

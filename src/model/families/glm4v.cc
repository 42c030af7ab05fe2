// SPDX-License-Identifier: Apache-2.0
// The language part of GLM-4.1V (and AutoGLM-Phone): GLM-4 whose config lies within that of a model that sees. The part
// that sees is left out. A text's positions are the same in all three axes of the rope, which makes it an ordinary one.
// Source: transformers, configuration_glm4v.py and modeling_glm4v.py.
#include "model/families/family.h"
#include "model/families/glm_config.h"
#include "model/families/json_config.h"

namespace autoglm::model {
namespace {

Result<ModelConfig> from_json(const json::Object& config) {
  const json::Object* const text = TRY(find_object(config, "text_config"));
  if (text == nullptr) return fail(Code::kCorrupt, "config.json has no \"text_config\"");
  ModelConfig result = TRY(read_json_config(*text, {.kv_heads = 2, .context_length = 32'768, .norm_eps = 1e-5}));
  result.architecture = "glm4v";
  result.ropes.front().style = kernels::RopeStyle::kInterleaved;
  result.has_qkv_bias = true;
  result.has_post_norms = true;
  result.has_tied_head = TRY(find_flag(config, "tie_word_embeddings")).value_or(result.has_tied_head);
  return result;
}

// In earlier files the language part has the names of a model that is nothing else.
const TensorNames& older_names() {
  static const TensorNames kNames = [] {
    TensorNames result = glm4_style_names();
    result.left_out = "visual.";
    return result;
  }();
  return kNames;
}

const TensorNames& names() {
  static const TensorNames kNames = {
      .embedding = "model.language_model.embed_tokens",
      .final_norm = "model.language_model.norm",
      .head = "lm_head",
      .attention_norm = "model.language_model.layers.{}.input_layernorm",
      .query = "model.language_model.layers.{}.self_attn.q_proj",
      .key = "model.language_model.layers.{}.self_attn.k_proj",
      .value = "model.language_model.layers.{}.self_attn.v_proj",
      .output = "model.language_model.layers.{}.self_attn.o_proj",
      .post_attention_norm = "model.language_model.layers.{}.post_self_attn_layernorm",
      .mlp_norm = "model.language_model.layers.{}.post_attention_layernorm",
      .down = "model.language_model.layers.{}.mlp.down_proj",
      .post_mlp_norm = "model.language_model.layers.{}.post_mlp_layernorm",
      .gate_up = "model.language_model.layers.{}.mlp.gate_up_proj",
      .left_out = "model.visual.",
      .older = &older_names(),
  };
  return kNames;
}

}  // namespace

const Family kGlm4v{
    .name = "GLM-4.1V, AutoGLM-Phone (text)",
    .note = "GLM-4 without the part that sees; a GGUF of it is a `glm4`",
    .model_type = "glm4v",
    .from_json = from_json,
    .json_names = names,
};

}  // namespace autoglm::model

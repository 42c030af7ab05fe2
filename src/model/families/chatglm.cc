// SPDX-License-Identifier: Apache-2.0
// ChatGLM3 and GLM-4 (9B) as they were first published: GLM under other keys and other names, with q, k and v in one
// tensor. Their tokenizers are Python: such a folder is served by token ids. Source: the published config.json and
// modeling_chatglm.py of glm-4-9b-chat and chatglm3-6b.
#include <string>
#include <utility>

#include "model/families/family.h"
#include "model/families/glm_config.h"
#include "model/families/json_config.h"

namespace autoglm::model {
namespace {

constexpr double kTheta = 10'000;

// Our key, and theirs, which must be there.
constexpr std::pair<std::string_view, std::string_view> kKeys[] = {
    {"vocab_size", "padded_vocab_size"},
    {"hidden_size", "hidden_size"},
    {"num_hidden_layers", "num_layers"},
    {"num_attention_heads", "num_attention_heads"},
    {"num_key_value_heads", "multi_query_group_num"},
    {"head_dim", "kv_channels"},
    {"intermediate_size", "ffn_hidden_size"},
    {"max_position_embeddings", "seq_length"},
    {"rms_norm_eps", "layernorm_epsilon"},
};

// What the name covers and these models do not use.
struct Switch {
  std::string_view key;
  bool needed;
  bool absent;  // what it means when it is not there
};
constexpr Switch kSwitches[] = {
    {"rmsnorm", true, true},
    {"multi_query_attention", true, false},
    {"post_layer_norm", true, true},
    {"add_bias_linear", false, false},
    {"apply_residual_connection_post_layernorm", false, false},
};

Result<ModelConfig> from_json(const json::Object& config) {
  for (const Switch& each : kSwitches) {
    if (TRY(find_flag(config, each.key)).value_or(each.absent) == each.needed) continue;
    return refuse("a chatglm whose \"" + std::string(each.key) + "\" is " + (each.needed ? "false" : "true") +
                  " is not supported");
  }
  json::Object glm{{"model_type", "chatglm"}};
  for (const auto& [ours, theirs] : kKeys) {
    const json::Value* const value = config.if_contains(theirs);
    if (value == nullptr) return fail(Code::kCorrupt, "config.json has no \"" + std::string(theirs) + "\"");
    glm[ours] = *value;
  }
  for (const std::string_view key : {"tie_word_embeddings", "quantization_config"}) {
    if (const json::Value* value = config.if_contains(key); value != nullptr) glm[key] = *value;
  }
  glm["attention_bias"] = TRY(find_flag(config, "add_qkv_bias")).value_or(false);
  glm["rope_theta"] = kTheta * TRY(find_number(config, "rope_ratio", ranges::kRopeFactor)).value_or(1);
  return read_glm_config(glm);
}

const TensorNames& names() {
  static constexpr TensorNames kNames{
      .embedding = "transformer.embedding.word_embeddings",
      .final_norm = "transformer.encoder.final_layernorm",
      .head = "transformer.output_layer",
      .attention_norm = "transformer.encoder.layers.{}.input_layernorm",
      .output = "transformer.encoder.layers.{}.self_attention.dense",
      .mlp_norm = "transformer.encoder.layers.{}.post_attention_layernorm",
      .down = "transformer.encoder.layers.{}.mlp.dense_4h_to_h",
      .query_key_value = "transformer.encoder.layers.{}.self_attention.query_key_value",
      .gate_up = "transformer.encoder.layers.{}.mlp.dense_h_to_4h",
  };
  return kNames;
}

}  // namespace

const Family kChatGlm{
    .name = "ChatGLM3, GLM-4 (9B) in their first layout",
    .note = "GLM under other keys; no tokenizer.json: token ids alone",
    .model_type = "chatglm",
    .from_json = from_json,
    .json_names = names,
};

}  // namespace autoglm::model

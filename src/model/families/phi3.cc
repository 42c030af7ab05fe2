// SPDX-License-Identifier: Apache-2.0
// Phi-3, Phi-3.5 and Phi-4: Llama with q, k and v in one tensor, gate and up in another, and in long versions a rope
// whose factors depend on how long the text is. Source: Phi-3 technical report, arXiv:2404.14219; transformers,
// configuration_phi3.py.
#include "model/families/family.h"
#include "model/families/gguf_config.h"
#include "model/families/json_config.h"

namespace autoglm::model {
namespace {

Result<ModelConfig> from_gguf(const GgufFile& file) {
  ModelConfig config = TRY(read_gguf_config(file, kernels::RopeStyle::kHalves));
  constexpr CountRange kOrNone{ranges::kWindow.name, 0, ranges::kWindow.max};
  const auto window = TRY(find_count(file, "attention.sliding_window", kOrNone));
  for (LayerConfig& layer : config.layers) layer.window = window.value_or(0);
  return config;
}

constexpr std::string_view kOriginalContext = "original_max_position_embeddings";

bool says_original_context(const json::Object& config) {
  if (config.contains(kOriginalContext)) return true;
  for (const char* const key : {"rope_scaling", "rope_parameters"}) {
    const json::Value* const rope = config.if_contains(key);
    if (rope != nullptr && rope->is_object() && rope->get_object().contains(kOriginalContext)) return true;
  }
  return false;
}

Result<ModelConfig> from_json(const json::Object& config) {
  json::Object said = config;
  if (!says_original_context(said)) said[kOriginalContext] = 4'096;
  ModelConfig result = TRY(read_json_config(said, {.context_length = 4'096, .norm_eps = 1e-5}));
  TRY(read_one_window(config, 0, result));
  return result;
}

const TensorNames& names() {
  static const TensorNames kNames = [] {
    TensorNames result = llama_style_names();
    result.query_key_value = "model.layers.{}.self_attn.qkv_proj";
    result.gate_up = "model.layers.{}.mlp.gate_up_proj";
    return result;
  }();
  return kNames;
}

}  // namespace

const Family kPhi3{
    .name = "Phi-3, Phi-3.5, Phi-4",
    .note = "rope scaling longrope; optional window over which every layer slides",
    .architecture = "phi3",
    .model_type = "phi3",
    .from_gguf = from_gguf,
    .from_json = from_json,
    .json_names = names,
};

}  // namespace autoglm::model

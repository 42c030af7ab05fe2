// SPDX-License-Identifier: Apache-2.0
// Qwen3 (dense): Llama with a norm of every query and key head before the rope, and heads of their own width.
#include "model/families/family.h"
#include "model/families/gguf_config.h"
#include "model/families/json_config.h"
#include "model/families/qwen_windows.h"

namespace autoglm::model {
namespace {

Result<ModelConfig> from_gguf(const GgufFile& file) {
  ModelConfig result = TRY(read_gguf_config(file, kernels::RopeStyle::kHalves));
  result.has_qk_norm = true;
  return result;
}

Result<ModelConfig> from_json(const json::Object& config) {
  ModelConfig result = TRY(read_json_config(config, {.kv_heads = 32, .head_dim = 128, .context_length = 32'768}));
  result.has_qk_norm = true;
  result.has_qkv_bias = TRY(find_flag(config, "attention_bias")).value_or(false);
  result.has_output_bias = result.has_qkv_bias;
  TRY(read_qwen_windows(config, result));
  return result;
}

}  // namespace

const Family kQwen3{
    .name = "Qwen3 (dense)",
    .note = "norms of query and key heads; rope scaling YaRN",
    .architecture = "qwen3",
    .model_type = "qwen3",
    .from_gguf = from_gguf,
    .from_json = from_json,
    .json_names = llama_style_names,
};

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
// Qwen2 and Qwen2.5: Llama with biases on q, k and v, and in some configs a sliding window from a certain layer on.
#include "model/families/family.h"
#include "model/families/gguf_config.h"
#include "model/families/json_config.h"
#include "model/families/qwen_windows.h"

namespace autoglm::model {
namespace {

Result<ModelConfig> from_gguf(const GgufFile& file) { return read_gguf_config(file, kernels::RopeStyle::kHalves); }

Result<ModelConfig> from_json(const json::Object& config) {
  ModelConfig result = TRY(read_json_config(config, {.kv_heads = 32, .context_length = 32'768}));
  result.has_qkv_bias = true;
  TRY(read_qwen_windows(config, result));
  return result;
}

}  // namespace

const Family kQwen2{
    .name = "Qwen2, Qwen2.5",
    .note = "biases on q, k, v; optional sliding windows; rope scaling YaRN",
    .architecture = "qwen2",
    .model_type = "qwen2",
    .from_gguf = from_gguf,
    .from_json = from_json,
    .json_names = llama_style_names,
};

}  // namespace autoglm::model

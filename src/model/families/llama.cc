// SPDX-License-Identifier: Apache-2.0
// Llama and what took its shape over (SmolLM2): pre-norms, gated SiLU, rotary halves. In GGUF the rows of Q and K are
// permuted so that a pair stands side by side, hence the interleaved rope.
#include "model/families/family.h"
#include "model/families/gguf_config.h"
#include "model/families/json_config.h"

namespace autoglm::model {
namespace {

Result<ModelConfig> from_gguf(const GgufFile& file) { return read_gguf_config(file, kernels::RopeStyle::kInterleaved); }

Result<ModelConfig> from_json(const json::Object& config) {
  ModelConfig result = TRY(read_json_config(config, {}));
  result.has_qkv_bias = TRY(find_flag(config, "attention_bias")).value_or(false);
  result.has_output_bias = result.has_qkv_bias;
  result.has_mlp_bias = TRY(find_flag(config, "mlp_bias")).value_or(false);
  return result;
}

}  // namespace

const Family kLlama{
    .name = "Llama, SmolLM2",
    .note = "rope scaling linear, llama3 and YaRN",
    .architecture = "llama",
    .model_type = "llama",
    .from_gguf = from_gguf,
    .from_json = from_json,
    .json_names = llama_style_names,
};

}  // namespace autoglm::model

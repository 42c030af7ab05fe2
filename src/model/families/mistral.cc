// SPDX-License-Identifier: Apache-2.0
// Mistral: Llama without biases, and in its early versions a window over which every layer slides. Its GGUF files call
// themselves "llama". Source: Mistral 7B, arXiv:2310.06825; transformers, configuration_mistral.py.
#include "model/families/family.h"
#include "model/families/json_config.h"

namespace autoglm::model {
namespace {

constexpr std::size_t kDefaultWindow = 4'096;

Result<ModelConfig> from_json(const json::Object& config) {
  ModelConfig result = TRY(read_json_config(config, {.kv_heads = 8, .context_length = 131'072}));
  TRY(read_one_window(config, kDefaultWindow, result));
  return result;
}

}  // namespace

const Family kMistral{
    .name = "Mistral",
    .note = "a window over which every layer slides, where config.json has one; a GGUF of it is a `llama`",
    .model_type = "mistral",
    .from_json = from_json,
    .json_names = llama_style_names,
};

}  // namespace autoglm::model

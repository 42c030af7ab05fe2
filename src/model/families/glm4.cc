// SPDX-License-Identifier: Apache-2.0
// GLM-4-0414 and GLM-Z1: GLM with a norm behind attention and MLP as well as before them. Source: transformers,
// modeling_glm4.py.
#include "model/families/family.h"
#include "model/families/gguf_config.h"
#include "model/families/glm_config.h"

namespace autoglm::model {
namespace {

// The language part of GLM-4.1V carries this name too. Its file says how positions of an image divide among the pairs
// of the rope, which for text is no difference, and holds the rows of q and k in the order that pairs halves.
Result<ModelConfig> from_gguf(const GgufFile& file) {
  const bool has_sections = file.has(architecture_key(file, "rope.dimension_sections"));
  ModelConfig config =
      TRY(read_gguf_config(file, has_sections ? kernels::RopeStyle::kHalves : kernels::RopeStyle::kInterleaved));
  config.has_post_norms = true;
  return config;
}

Result<ModelConfig> from_json(const json::Object& config) {
  ModelConfig result = TRY(read_glm_config(config));
  result.has_post_norms = true;
  return result;
}

}  // namespace

const Family kGlm4{
    .name = "GLM-4-0414, GLM-Z1",
    .note = "norms before and after; biases where config.json says so",
    .architecture = "glm4",
    .model_type = "glm4",
    .from_gguf = from_gguf,
    .from_json = from_json,
    .json_names = glm4_style_names,
};

}  // namespace autoglm::model

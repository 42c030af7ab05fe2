// SPDX-License-Identifier: Apache-2.0
// GLM-4 (9B) and GLM-Edge: pre-norms, biases on q, k and v, gate and up in one tensor, and a rope of interleaved pairs
// over a part of each head. Source: GLM report, arXiv:2406.12793; transformers, modeling_glm.py.
#include "model/families/family.h"
#include "model/families/gguf_config.h"
#include "model/families/glm_config.h"

namespace autoglm::model {
namespace {

// GGUF calls this one by the name of its first incarnation.
Result<ModelConfig> from_gguf(const GgufFile& file) { return read_gguf_config(file, kernels::RopeStyle::kInterleaved); }

}  // namespace

const Family kGlm{
    .name = "GLM-4 (9B), GLM-Edge",
    .note = "biases on q, k, v; a rope of interleaved pairs over a part of each head",
    .architecture = "chatglm",
    .model_type = "glm",
    .from_gguf = from_gguf,
    .from_json = read_glm_config,
    .json_names = glm_style_names,
};

}  // namespace autoglm::model

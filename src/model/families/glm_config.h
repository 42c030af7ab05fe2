// SPDX-License-Identifier: Apache-2.0
// What the dense GLM families share: what config.json's keys mean, and what their tensors are called. Any thread.
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "model/config.h"
#include "model/families/tensor_names.h"

namespace autoglm::model {

/// The shape of a dense GLM with its biases and its interleaved rope. Source: transformers, configuration_glm.py.
Result<ModelConfig> read_glm_config(const json::Object& config);

/// Llama's names, but for gate and up, which are one tensor.
const TensorNames& glm_style_names();
/// The same with norms behind attention and MLP.
const TensorNames& glm4_style_names();

}  // namespace autoglm::model

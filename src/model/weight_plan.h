// SPDX-License-Identifier: Apache-2.0
// Which tensors of a checkpoint are which weights: everything found and its shape checked, nothing packed. Any thread.
#pragma once

#include <vector>

#include "base/result.h"
#include "model/families/family.h"
#include "model/formats/checkpoint.h"
#include "model/projection.h"

namespace autoglm::model {

// Vectors in f32, the norms with the family's offset.
struct LayerVectors {
  std::vector<float> attention_norm;        // [hidden]
  std::vector<float> query_norm, key_norm;  // [head_dim], empty = none
  std::vector<float> post_attention_norm;   // [hidden], empty = none
  std::vector<float> mlp_norm;              // [hidden]
  std::vector<float> post_mlp_norm;         // [hidden], empty = none
  std::vector<float> router_bias;           // [experts], empty = none
};

struct StoredExpert {
  StoredProjection gate, up, down;
};

struct LayerPlan {
  LayerVectors vectors;
  StoredProjection query, key, value, output;
  StoredProjection gate, up, down;  // in a layer with experts those of the one that every token meets; no tensor = none
  StoredProjection router;          // [experts, hidden], in f32; no tensor = no experts
  std::vector<StoredExpert> experts;  // empty = none
};

struct WeightPlan {
  const StoredTensor* embedding = nullptr;
  std::vector<LayerPlan> layers;
  std::vector<float> final_norm;  // [hidden]
  StoredProjection head;
};

/// Finds every weight that the description asks for.
///   Errors   kCorrupt (a tensor is missing or has the wrong shape), kInvalidArgument (a type that we do not run, or a
///            tensor that the family does not have; both named)
Result<WeightPlan> plan_weights(const Checkpoint& checkpoint, const Description& description);

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
// The weights of a transformer as the kernels want them: projections packed for the processor, norms and biases in f32,
// the token embedding as stored. Built once from a checkpoint; immutable afterwards.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "kernels/ops.h"
#include "model/families/family.h"
#include "model/formats/checkpoint.h"

namespace autoglm::model {

struct Projection {
  std::unique_ptr<kernels::PackedLinear> weights;
  std::vector<float> bias;  // empty = none

  kernels::LinearJob job(const kernels::Tensor& out, bool accumulate = false) const {
    return {
        .weights = weights.get(), .out = out, .bias = bias.empty() ? nullptr : bias.data(), .accumulate = accumulate};
  }
};

struct LayerWeights {
  std::vector<float> attention_norm;  // [hidden]
  Projection query, key, value;
  std::vector<float> query_norm, key_norm;  // [head_dim], empty = none
  Projection output;
  std::vector<float> post_attention_norm;  // [hidden], empty = none
  std::vector<float> mlp_norm;             // [hidden]
  Projection gate, up, down;
  std::vector<float> post_mlp_norm;  // [hidden], empty = none
};

struct Weights {
  kernels::Tensor embedding;       // [vocab, hidden] as stored: a view on the checkpoint, or on embedding_copy
  kernels::Buffer embedding_copy;  // only where the file holds it badly aligned, or in parts
  std::vector<LayerWeights> layers;
  std::vector<float> final_norm;  // [hidden]
  Projection head;                // [vocab, hidden]; packed from the embedding when the head is tied
  std::size_t bytes = 0;          // memory of all packed weights
};

using Progress = std::function<void(std::size_t done_bytes, std::size_t total_bytes)>;

struct PackOptions {
  std::optional<kernels::DType> type;  // as in LoadOptions::weights_as
  Progress progress;                   // may be empty
};

/// Packs every weight that the description asks for and lets the file's pages go one tensor after the other. The
/// checkpoint must outlive the result (embedding).
///   Errors   kCorrupt (a tensor is missing or has the wrong shape), kInvalidArgument (a type that we do not run, or a
///            tensor that the family does not have; both named)
Result<Weights> pack_weights(const Checkpoint& checkpoint, const Description& description, kernels::Ops& ops,
                             const PackOptions& options);

/// The tensors that pack_weights() would pack as projections, with the shapes that it would ask for. Checks everything
/// but packs nothing: for inspect. Same errors.
Result<std::vector<const StoredTensor*>> list_projections(const Checkpoint& checkpoint, const Description& description);

}  // namespace autoglm::model

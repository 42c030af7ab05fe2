// SPDX-License-Identifier: Apache-2.0
// The weights of a transformer as the kernels want them: projections packed for the processor, norms and biases in f32,
// the token embedding as stored. Built once from a checkpoint; immutable afterwards, but for experts, each of which is
// packed on its first use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "kernels/ops.h"
#include "model/experts.h"
#include "model/families/family.h"
#include "model/formats/checkpoint.h"
#include "model/projection.h"
#include "model/weight_plan.h"

namespace autoglm::model {

struct LayerWeights : LayerVectors {
  Projection query, key, value, output;
  Projection gate, up, down;  // in a layer with experts those of the one that every token meets; null weights = none
  Projection router;          // [experts, hidden]; null weights = no experts
};

struct Weights {
  kernels::Tensor embedding;       // [vocab, hidden] as stored: a view on the checkpoint, or on embedding_copy
  kernels::Buffer embedding_copy;  // only where the file holds it badly aligned, or in parts
  std::vector<LayerWeights> layers;
  std::unique_ptr<Experts> experts;  // of all layers; null = the model has none
  std::vector<float> final_norm;     // [hidden]
  Projection head;                   // [vocab, hidden]; packed from the embedding when the head is tied
  std::size_t bytes = 0;             // memory of all packed weights but experts
};

struct PackOptions {
  std::optional<kernels::DType> type;  // as in LoadOptions::weights_as
  Progress progress;                   // of all but experts; may be empty
};

/// Packs every weight that the description asks for, but for experts, and lets the file's pages go one tensor after the
/// other. Checkpoint and ops must outlive the result (embedding, experts).
///   Errors   as plan_weights()
Result<Weights> pack_weights(const Checkpoint& checkpoint, const Description& description, kernels::Ops& ops,
                             const PackOptions& options);

// A projection that pack_weights() would pack.
struct ListedProjection {
  enum class Part : std::uint8_t { kLayer, kRouter, kExpert, kHead };

  const StoredTensor* tensor = nullptr;  // where it lies, perhaps beside others
  kernels::Tensor extent;                // what is packed, without data
  std::uint64_t file_bytes = 0;
  Part part = Part::kLayer;
};

/// All of them, the head last. Checks everything but packs nothing: for inspect. Errors: as plan_weights().
Result<std::vector<ListedProjection>> list_projections(const Checkpoint& checkpoint, const Description& description);

}  // namespace autoglm::model

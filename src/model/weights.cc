// SPDX-License-Identifier: Apache-2.0
#include "model/weights.h"

#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/log.h"

namespace autoglm::model {
namespace {

using kernels::DType;
using Part = ListedProjection::Part;

// Calls visit(projection, part) for all of a layer that are there.
template <typename Plan, typename Visit>
void visit_layer(Plan& layer, const Visit& visit) {
  for (auto* one : {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate, &layer.up, &layer.down}) {
    if (one->tensor != nullptr) visit(*one, Part::kLayer);
  }
  if (layer.router.tensor != nullptr) visit(layer.router, Part::kRouter);
  for (auto& expert : layer.experts) {
    for (auto* one : {&expert.gate, &expert.up, &expert.down}) visit(*one, Part::kExpert);
  }
}

std::size_t bytes_without_experts(const WeightPlan& plan) {
  std::size_t bytes = plan.head.bytes().size();
  for (const LayerPlan& layer : plan.layers) {
    visit_layer(layer, [&](const StoredProjection& one, Part part) {
      if (part != Part::kExpert) bytes += one.bytes().size();
    });
  }
  return bytes;
}

LayerWeights pack_layer(ProjectionPacker& packer, LayerPlan& plan) {
  LayerWeights layer;
  static_cast<LayerVectors&>(layer) = std::move(plan.vectors);
  layer.query = packer.pack(std::move(plan.query));
  layer.key = packer.pack(std::move(plan.key));
  layer.value = packer.pack(std::move(plan.value));
  layer.output = packer.pack(std::move(plan.output));
  layer.gate = packer.pack(std::move(plan.gate));
  layer.up = packer.pack(std::move(plan.up));
  layer.down = packer.pack(std::move(plan.down));
  layer.router = packer.pack(std::move(plan.router));
  return layer;
}

void say_what_is_left_out(const Description& description) {
  if (const std::string_view left_out = description.names->left_out; !left_out.empty()) {
    LOG_WARN("what the checkpoint has below \"{}\" is left out: text only, no images", left_out);
  }
}

}  // namespace

Result<std::vector<ListedProjection>> list_projections(const Checkpoint& checkpoint, const Description& description) {
  const WeightPlan plan = TRY(plan_weights(checkpoint, description));
  std::vector<ListedProjection> all;
  const auto list = [&](const StoredProjection& one, Part part) {
    all.push_back({.tensor = one.tensor, .extent = one.extent({}), .file_bytes = one.file_bytes(), .part = part});
  };
  for (const LayerPlan& layer : plan.layers) visit_layer(layer, list);
  list(plan.head, Part::kHead);
  return all;
}

Result<Weights> pack_weights(const Checkpoint& checkpoint, const Description& description, kernels::Ops& ops,
                             const PackOptions& options) {
  CHECK(!options.type || *options.type == DType::kF32 || *options.type == DType::kF16) << "a type for any width";
  WeightPlan plan = TRY(plan_weights(checkpoint, description));
  say_what_is_left_out(description);
  ProjectionPacker packer(checkpoint, ops, options.type, bytes_without_experts(plan), options.progress);
  Weights weights;
  std::vector<std::vector<StoredExpert>> experts;
  for (LayerPlan& layer : plan.layers) {
    weights.layers.push_back(pack_layer(packer, layer));
    experts.push_back(std::move(layer.experts));
  }
  if (description.config.experts.count > 0) {
    weights.experts = std::make_unique<Experts>(checkpoint, ops, options.type, std::move(experts));
  }
  weights.final_norm = std::move(plan.final_norm);
  weights.head = packer.pack(std::move(plan.head));
  weights.embedding = ready_matrix(*plan.embedding, weights.embedding_copy);
  weights.bytes = packer.packed_bytes();
  return weights;
}

}  // namespace autoglm::model

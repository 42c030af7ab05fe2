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

// Packs one projection after the other and reports.
class Packer final {
 public:
  Packer(const Checkpoint& checkpoint, kernels::Ops& ops, const PackOptions& options, std::size_t total_bytes)
      : checkpoint_(checkpoint), ops_(ops), options_(options), total_bytes_(total_bytes) {}

  Projection pack(StoredProjection from) {
    if (from.tensor == nullptr) return {};
    const std::size_t bytes = from.bytes().size();
    Projection projection = pack_projection(checkpoint_, ops_, std::move(from), options_.type);
    packed_bytes_ += projection.weights->bytes();
    done_bytes_ += bytes;
    if (options_.progress) options_.progress(done_bytes_, total_bytes_);
    return projection;
  }

  LayerWeights pack(LayerPlan& plan) {
    LayerWeights layer;
    static_cast<LayerVectors&>(layer) = std::move(plan.vectors);
    layer.query = pack(std::move(plan.query));
    layer.key = pack(std::move(plan.key));
    layer.value = pack(std::move(plan.value));
    layer.output = pack(std::move(plan.output));
    layer.gate = pack(std::move(plan.gate));
    layer.up = pack(std::move(plan.up));
    layer.down = pack(std::move(plan.down));
    layer.router = pack(std::move(plan.router));
    return layer;
  }

  std::size_t packed_bytes() const { return packed_bytes_; }

 private:
  const Checkpoint& checkpoint_;
  kernels::Ops& ops_;
  const PackOptions& options_;
  std::size_t total_bytes_;
  std::size_t done_bytes_ = 0;
  std::size_t packed_bytes_ = 0;
};

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
  Packer packer(checkpoint, ops, options, bytes_without_experts(plan));
  Weights weights;
  std::vector<std::vector<StoredExpert>> experts;
  for (LayerPlan& layer : plan.layers) {
    weights.layers.push_back(packer.pack(layer));
    experts.push_back(std::move(layer.experts));
  }
  if (description.config.experts.count > 0) {
    weights.experts = std::make_unique<Experts>(checkpoint, ops, options.type, std::move(experts));
  }
  weights.final_norm = std::move(plan.final_norm);
  weights.head = packer.pack(std::move(plan.head));
  const StoredProjection embedding{.tensor = plan.embedding, .rows = plan.embedding->shape[0]};
  if (!is_ready(*plan.embedding)) weights.embedding_copy = ready_copy(embedding);
  weights.embedding = embedding.extent({});
  weights.embedding.data = weights.embedding_copy.data() != nullptr
                               ? weights.embedding_copy.data()
                               : const_cast<std::byte*>(plan.embedding->bytes.data());
  weights.bytes = packer.packed_bytes();
  return weights;
}

}  // namespace autoglm::model

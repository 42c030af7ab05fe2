// SPDX-License-Identifier: Apache-2.0
#include "model/weights.h"

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "kernels/quantize.h"

namespace autoglm::model {
namespace {

using kernels::DType;
using kernels::Tensor;

std::size_t alignment_of(DType type) {
  return kernels::traits(type).block_elements > 1 ? 1 : kernels::traits(type).block_bytes;
}

// Whether the kernels can read it where it lies.
bool is_ready(const StoredTensor& stored) {
  return stored.compressed == nullptr &&
         reinterpret_cast<std::uintptr_t>(stored.bytes.data()) % alignment_of(*stored.type) == 0;
}

// Rows of a stored matrix, which lie at `at`, as the kernels see them.
Tensor as_tensor(const StoredTensor& stored, std::size_t rows, const std::byte* at) {
  const auto columns = static_cast<std::size_t>(stored.shape[1]);
  return {*stored.type, rows, columns, kernels::row_bytes(*stored.type, columns), const_cast<std::byte*>(at)};
}

// Walks over a checkpoint: hands out tensors by name and shape, and remembers which were asked for.
class TensorReader final {
 public:
  TensorReader(const Checkpoint& checkpoint, const ModelConfig& config) : checkpoint_(checkpoint), config_(config) {}

  /// A matrix that must be there, of a type that we run.
  Result<const StoredTensor*> matrix(const std::string& name, std::size_t rows, std::size_t columns) {
    const StoredTensor* const stored = TRY(find(name));
    if (stored->rank != 2 || stored->shape[0] != rows || stored->shape[1] != columns) {
      return fail(Code::kCorrupt, "tensor \"" + name + "\" is " + stored->shape_text() + "; expected [" +
                                      std::to_string(rows) + ", " + std::to_string(columns) + "]");
    }
    return stored;
  }

  /// A vector in f32, `offset` added to every element.
  Result<std::vector<float>> vector(const std::string& name, std::size_t size, float offset = 0) {
    const StoredTensor* const stored = TRY(find(name));
    if (stored->rank != 1 || stored->shape[0] != size) {
      return fail(Code::kCorrupt,
                  "tensor \"" + name + "\" is " + stored->shape_text() + "; expected [" + std::to_string(size) + "]");
    }
    std::vector<std::byte> aligned(stored->bytes.begin(), stored->bytes.end());
    std::vector<float> values(size);
    kernels::dequantize(*stored->type, aligned.data(), values.data(), size);
    for (float& value : values) value += offset;
    checkpoint_.let_go(*stored);
    return values;
  }

  Result<std::vector<float>> norm(const std::string& name, std::size_t size) {
    return vector(name, size, config_.norm_offset);
  }

  bool has(const std::string& name) const { return checkpoint_.find(name) != nullptr; }
  void mark_used(std::string name) { used_.insert(std::move(name)); }

  /// A tensor that nobody asked for is a part of the model that we would silently leave out.
  Status refuse_the_rest(std::string_view left_out) const {
    for (const StoredTensor& stored : checkpoint_.tensors()) {
      if (used_.contains(std::string(stored.name))) continue;
      if (!left_out.empty() && stored.name.starts_with(left_out)) continue;
      // Old files store what theta says anyway.
      if (stored.name.ends_with(".rotary_emb.inv_freq") || stored.name.ends_with(".rotary_pos_emb.inv_freq")) continue;
      return fail(Code::kInvalidArgument, "tensor \"" + base::printable(stored.name) + "\" is not a part of a " +
                                              config_.architecture + " model that we know how to run");
    }
    return {};
  }

 private:
  Result<const StoredTensor*> find(const std::string& name) {
    const StoredTensor* const stored = checkpoint_.find(name);
    if (stored == nullptr) return fail(Code::kCorrupt, "the checkpoint has no tensor \"" + name + "\"");
    if (!stored->type) {
      return fail(Code::kInvalidArgument,
                  "tensor \"" + name + "\" has the element type " + stored->type_text() + ", which is not supported");
    }
    used_.insert(name);
    return stored;
  }

  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  std::unordered_set<std::string> used_;
};

// A projection before it is packed: rows of a stored matrix, mostly all of them.
struct Plan {
  const StoredTensor* weights = nullptr;
  std::size_t first_row = 0;
  std::size_t rows = 0;
  std::vector<float> bias;

  std::span<const std::byte> bytes() const {
    const std::size_t row_bytes = weights->bytes.size() / weights->shape[0];
    return weights->bytes.subspan(first_row * row_bytes, rows * row_bytes);
  }
};

struct LayerPlan {
  LayerWeights vectors;  // its norms; the projections are filled in when they are packed
  Plan query, key, value, output, gate, up, down;
};

// Everything found and checked, nothing packed.
struct Plans {
  const StoredTensor* embedding = nullptr;
  std::vector<LayerPlan> layers;
  std::vector<float> final_norm;
  Plan head;
};

class Planner final {
 public:
  Planner(const Checkpoint& checkpoint, const Description& description)
      : config_(description.config), names_(*description.names), reader_(checkpoint, description.config) {}

  Result<Plans> plan() {
    Plans plans;
    plans.embedding = TRY(reader_.matrix(weight(names_.embedding), config_.vocab, config_.hidden));
    plans.final_norm = TRY(reader_.norm(weight(names_.final_norm), config_.hidden));
    if (config_.has_tied_head) {
      plans.head.weights = plans.embedding;
      plans.head.rows = config_.vocab;
      reader_.mark_used(weight(names_.head));  // some files keep a copy
    } else {
      plans.head.weights = TRY(reader_.matrix(weight(names_.head), config_.vocab, config_.hidden));
      plans.head.rows = config_.vocab;
    }
    for (const std::string_view name : {names_.rope_factors, names_.short_rope_factors, names_.long_rope_factors}) {
      if (!name.empty()) reader_.mark_used(weight(name));
    }
    for (std::size_t i = 0; i < config_.layers.size(); ++i) plans.layers.push_back(TRY(plan_layer(i)));
    TRY(reader_.refuse_the_rest(names_.left_out));
    return plans;
  }

 private:
  static std::string weight(std::string_view name) { return std::string(name) + ".weight"; }

  Result<Plan> projection(std::string_view name, std::size_t layer, std::size_t rows, std::size_t columns,
                          bool has_bias) {
    const std::string full = layer_name(name, layer);
    Plan plan{.rows = rows};
    plan.weights = TRY(reader_.matrix(full + ".weight", rows, columns));
    if (has_bias) plan.bias = TRY(reader_.vector(full + ".bias", rows));
    return plan;
  }

  struct Part {
    std::string_view name;
    std::size_t rows;
    Plan& plan;
  };

  // Projections of the hidden state that have a tensor each, or share the one called `joint`.
  Status projections(std::string_view joint, std::size_t layer, bool has_bias, std::initializer_list<Part> parts) {
    const Part& first = *parts.begin();
    if (joint.empty() || (!first.name.empty() && reader_.has(layer_name(first.name, layer) + ".weight"))) {
      for (const Part& part : parts) {
        part.plan = TRY(projection(part.name, layer, part.rows, config_.hidden, has_bias));
      }
      return {};
    }
    std::size_t all_rows = 0;
    for (const Part& part : parts) all_rows += part.rows;
    const Plan whole = TRY(projection(joint, layer, all_rows, config_.hidden, has_bias));
    std::size_t row = 0;
    for (const Part& part : parts) {
      part.plan = {.weights = whole.weights, .first_row = row, .rows = part.rows};
      if (has_bias) {
        const auto bias = std::span(whole.bias).subspan(row, part.rows);
        part.plan.bias.assign(bias.begin(), bias.end());
      }
      row += part.rows;
    }
    return {};
  }

  Result<std::vector<float>> norm(std::string_view name, std::size_t layer, std::size_t size) {
    return reader_.norm(layer_name(name, layer) + ".weight", size);
  }

  Result<LayerPlan> plan_layer(std::size_t i) {
    const std::size_t hidden = config_.hidden;
    LayerPlan plan;
    LayerWeights& vectors = plan.vectors;
    vectors.attention_norm = TRY(norm(names_.attention_norm, i, hidden));
    TRY(projections(names_.query_key_value, i, config_.has_qkv_bias,
                    {{names_.query, config_.query_width(), plan.query},
                     {names_.key, config_.kv_width(), plan.key},
                     {names_.value, config_.kv_width(), plan.value}}));
    plan.output = TRY(projection(names_.output, i, hidden, config_.query_width(), config_.has_output_bias));
    if (config_.has_qk_norm) {
      vectors.query_norm = TRY(norm(names_.query_norm, i, config_.head_dim));
      vectors.key_norm = TRY(norm(names_.key_norm, i, config_.head_dim));
    }
    vectors.mlp_norm = TRY(norm(names_.mlp_norm, i, hidden));
    if (config_.has_post_norms) {
      vectors.post_attention_norm = TRY(norm(names_.post_attention_norm, i, hidden));
      vectors.post_mlp_norm = TRY(norm(names_.post_mlp_norm, i, hidden));
    }
    TRY(projections(names_.gate_up, i, config_.has_mlp_bias,
                    {{names_.gate, config_.feed_forward, plan.gate}, {names_.up, config_.feed_forward, plan.up}}));
    plan.down = TRY(projection(names_.down, i, hidden, config_.feed_forward, config_.has_mlp_bias));
    return plan;
  }

  const ModelConfig& config_;
  const TensorNames& names_;
  TensorReader reader_;
};

// Each once: projections that share a tensor follow one another.
std::vector<const StoredTensor*> projections_of(const Plans& plans) {
  std::vector<const StoredTensor*> all;
  for (const LayerPlan& layer : plans.layers) {
    for (const Plan* plan :
         {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate, &layer.up, &layer.down}) {
      if (plan->first_row == 0) all.push_back(plan->weights);
    }
  }
  all.push_back(plans.head.weights);
  return all;
}

// Packs plans one after the other and reports.
class Packer final {
 public:
  Packer(const Checkpoint& checkpoint, kernels::Ops& ops, const PackOptions& options, std::size_t total_bytes)
      : checkpoint_(checkpoint), ops_(ops), options_(options), total_bytes_(total_bytes) {}

  Projection pack(Plan plan) {
    const StoredTensor& stored = *plan.weights;
    Projection projection;
    kernels::Buffer copy;
    if (!is_ready(stored)) copy = ready_copy(plan);
    Tensor matrix = as_tensor(stored, plan.rows, copy.data() != nullptr ? copy.data() : plan.bytes().data());
    if (options_.type && *options_.type != matrix.type) {
      kernels::Buffer other = recast(matrix, *options_.type);
      matrix = {*options_.type, matrix.rows, matrix.columns, kernels::row_bytes(*options_.type, matrix.columns),
                other.data()};
      copy = std::move(other);
    }
    projection.weights = ops_.pack(matrix);
    projection.bias = std::move(plan.bias);
    checkpoint_.let_go(stored, plan.bytes());
    packed_bytes_ += projection.weights->bytes();
    done_bytes_ += plan.bytes().size();
    if (options_.progress) options_.progress(done_bytes_, total_bytes_);
    return projection;
  }

  static kernels::Buffer ready_copy(const Plan& plan) {
    if (plan.weights->compressed != nullptr) {
      const CompressedMatrix& matrix = *plan.weights->compressed;
      kernels::Buffer blocks(plan.rows * kernels::row_bytes(*plan.weights->type, matrix.columns));
      matrix.expand(plan.first_row, plan.rows, blocks.data());
      return blocks;
    }
    const std::span<const std::byte> bytes = plan.bytes();
    kernels::Buffer copy(bytes.size());
    std::memcpy(copy.data(), bytes.data(), bytes.size());
    return copy;
  }

  std::size_t packed_bytes() const { return packed_bytes_; }

 private:
  // The values of `from` in another type, rounded to it once.
  kernels::Buffer recast(const Tensor& from, DType type) {
    kernels::Buffer rows(from.rows * kernels::row_bytes(type, from.columns));
    std::vector<std::vector<float>> values(static_cast<std::size_t>(ops_.pool().threads()),
                                           std::vector<float>(from.columns));
    ops_.pool().run(from.rows, [&](std::size_t row, int worker) {
      float* const scratch = values[static_cast<std::size_t>(worker)].data();
      kernels::dequantize(from.type, from.row(row), scratch, from.columns);
      kernels::quantize(type, scratch, rows.data() + row * kernels::row_bytes(type, from.columns), from.columns);
    });
    return rows;
  }

  const Checkpoint& checkpoint_;
  kernels::Ops& ops_;
  const PackOptions& options_;
  std::size_t total_bytes_;
  std::size_t done_bytes_ = 0;
  std::size_t packed_bytes_ = 0;
};

}  // namespace

Result<std::vector<const StoredTensor*>> list_projections(const Checkpoint& checkpoint,
                                                          const Description& description) {
  return projections_of(TRY(Planner(checkpoint, description).plan()));
}

Result<Weights> pack_weights(const Checkpoint& checkpoint, const Description& description, kernels::Ops& ops,
                             const PackOptions& options) {
  CHECK(!options.type || *options.type == DType::kF32 || *options.type == DType::kF16) << "a type for any width";
  Plans plans = TRY(Planner(checkpoint, description).plan());
  if (const std::string_view left_out = description.names->left_out; !left_out.empty()) {
    LOG_WARN("what the checkpoint has below \"{}\" is left out: text only, no images", left_out);
  }
  std::size_t total_bytes = 0;
  for (const StoredTensor* stored : projections_of(plans)) total_bytes += stored->bytes.size();
  Packer packer(checkpoint, ops, options, total_bytes);
  Weights weights;
  for (LayerPlan& plan : plans.layers) {
    LayerWeights layer = std::move(plan.vectors);
    layer.query = packer.pack(std::move(plan.query));
    layer.key = packer.pack(std::move(plan.key));
    layer.value = packer.pack(std::move(plan.value));
    layer.output = packer.pack(std::move(plan.output));
    layer.gate = packer.pack(std::move(plan.gate));
    layer.up = packer.pack(std::move(plan.up));
    layer.down = packer.pack(std::move(plan.down));
    weights.layers.push_back(std::move(layer));
  }
  weights.final_norm = std::move(plans.final_norm);
  weights.head = packer.pack(std::move(plans.head));
  const StoredTensor& embedding = *plans.embedding;
  if (!is_ready(embedding)) {
    weights.embedding_copy = Packer::ready_copy({.weights = &embedding, .rows = embedding.shape[0]});
  }
  const bool is_copied = weights.embedding_copy.data() != nullptr;
  weights.embedding =
      as_tensor(embedding, embedding.shape[0], is_copied ? weights.embedding_copy.data() : embedding.bytes.data());
  weights.bytes = packer.packed_bytes();
  return weights;
}

}  // namespace autoglm::model

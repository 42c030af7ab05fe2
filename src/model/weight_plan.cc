// SPDX-License-Identifier: Apache-2.0
#include "model/weight_plan.h"

#include <algorithm>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "model/tensor_reader.h"

namespace autoglm::model {
namespace {

bool is_bias_of_zeros(const StoredTensor& stored) {
  return stored.name.ends_with(".bias") && stored.type && !stored.bytes.empty() &&
         std::ranges::all_of(stored.bytes, [](std::byte byte) { return byte == std::byte{}; });
}

// What a checkpoint may hold that no part of the model reads.
bool leaves_out(const Description& description, const StoredTensor& stored) {
  if (description.leaves_out(stored.name)) return true;
  if (is_bias_of_zeros(stored)) return true;  // of every layer, as some quantisers write them
  // Old files store what theta says anyway.
  return stored.name.ends_with(".rotary_emb.inv_freq") || stored.name.ends_with(".rotary_pos_emb.inv_freq");
}

class Planner final {
 public:
  Planner(const Checkpoint& checkpoint, const Description& description)
      : description_(description), config_(description.config), names_(*description.names), reader_(checkpoint) {}

  Result<WeightPlan> plan() {
    WeightPlan plans;
    plans.embedding = TRY(reader_.tensor(weight(names_.embedding), {config_.vocab, config_.hidden}));
    plans.final_norm = TRY(reader_.vector(weight(names_.final_norm), config_.hidden, config_.norm_offset));
    if (config_.has_tied_head) {
      plans.head.tensor = plans.embedding;
      plans.head.rows = config_.vocab;
      reader_.mark_used(weight(names_.head));  // some files keep a copy
    } else {
      plans.head.tensor = TRY(reader_.tensor(weight(names_.head), {config_.vocab, config_.hidden}));
      plans.head.rows = config_.vocab;
    }
    for (const std::string_view name : {names_.rope_factors, names_.short_rope_factors, names_.long_rope_factors}) {
      if (!name.empty()) reader_.mark_used(weight(name));
    }
    for (std::size_t i = 0; i < config_.layers.size(); ++i) plans.layers.push_back(TRY(plan_layer(i)));
    TRY(reader_.refuse_the_rest(config_.architecture + " model",
                                [this](const StoredTensor& stored) { return leaves_out(description_, stored); }));
    return plans;
  }

 private:
  static std::string weight(std::string_view name) { return std::string(name) + ".weight"; }

  Result<StoredProjection> projection(std::string_view name, std::size_t layer, std::size_t rows, std::size_t columns,
                                      bool has_bias) {
    return reader_.projection(layer_name(name, layer), rows, columns, has_bias);
  }

  struct Part {
    std::string_view name;
    std::size_t rows;
    StoredProjection& plan;
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
    const StoredProjection whole = TRY(projection(joint, layer, all_rows, config_.hidden, has_bias));
    std::size_t row = 0;
    for (const Part& part : parts) {
      part.plan = {.tensor = whole.tensor, .first_row = row, .rows = part.rows};
      if (has_bias) {
        const auto bias = std::span(whole.bias).subspan(row, part.rows);
        part.plan.bias.assign(bias.begin(), bias.end());
      }
      row += part.rows;
    }
    return {};
  }

  Result<std::vector<float>> norm(std::string_view name, std::size_t layer, std::size_t size) {
    return reader_.vector(layer_name(name, layer) + ".weight", size, config_.norm_offset);
  }

  Result<LayerPlan> plan_layer(std::size_t i) {
    const std::size_t hidden = config_.hidden;
    LayerPlan plan;
    LayerVectors& vectors = plan.vectors;
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
    if (config_.layers[i].has_experts) {
      TRY(plan_experts(i, plan));
      return plan;
    }
    TRY(projections(names_.gate_up, i, config_.has_mlp_bias,
                    {{names_.gate, config_.feed_forward, plan.gate}, {names_.up, config_.feed_forward, plan.up}}));
    plan.down = TRY(projection(names_.down, i, hidden, config_.feed_forward, config_.has_mlp_bias));
    return plan;
  }

  Status plan_experts(std::size_t i, LayerPlan& plan) {
    const ExpertConfig& experts = config_.experts;
    plan.router = TRY(projection(names_.router, i, experts.count, config_.hidden, false));
    plan.router.packed_as = kernels::DType::kF32;  // a rounded score may choose another expert
    if (experts.has_bias) {
      plan.vectors.router_bias = TRY(reader_.vector(layer_name(names_.router_bias, i), experts.count));
    }
    if (const std::size_t width = experts.shared_feed_forward; width > 0) {
      plan.gate = TRY(projection(names_.shared_gate, i, width, config_.hidden, false));
      plan.up = TRY(projection(names_.shared_up, i, width, config_.hidden, false));
      plan.down = TRY(projection(names_.shared_down, i, config_.hidden, width, false));
    }
    plan.experts.resize(experts.count);
    TRY(plan_part(i, names_.expert_gate, experts.feed_forward, config_.hidden, plan, &StoredExpert::gate));
    TRY(plan_part(i, names_.expert_up, experts.feed_forward, config_.hidden, plan, &StoredExpert::up));
    return plan_part(i, names_.expert_down, config_.hidden, experts.feed_forward, plan, &StoredExpert::down);
  }

  // One projection of all experts, which have a tensor each, or lie in one.
  Status plan_part(std::size_t i, std::string_view name, std::size_t rows, std::size_t columns, LayerPlan& plan,
                   StoredProjection StoredExpert::* part) {
    const std::string of_layer = layer_name(name, i);
    if (of_layer.find("{}") == std::string::npos) {
      const StoredTensor* const all = TRY(reader_.tensor(of_layer + ".weight", {plan.experts.size(), rows, columns}));
      for (std::size_t e = 0; e < plan.experts.size(); ++e) {
        plan.experts[e].*part = {.tensor = all, .first_row = e * rows, .rows = rows};
      }
      return {};
    }
    for (std::size_t e = 0; e < plan.experts.size(); ++e) {
      plan.experts[e].*part = TRY(projection(of_layer, e, rows, columns, false));
    }
    return {};
  }

  const Description& description_;
  const ModelConfig& config_;
  const TensorNames& names_;
  TensorReader reader_;
};

}  // namespace

Result<WeightPlan> plan_weights(const Checkpoint& checkpoint, const Description& description) {
  return Planner(checkpoint, description).plan();
}

}  // namespace autoglm::model

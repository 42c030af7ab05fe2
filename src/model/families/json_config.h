// SPDX-License-Identifier: Apache-2.0
// What every family reads alike from a Hugging Face config.json, and typed access to the rest. Any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "model/config.h"

namespace autoglm::model {

// Typed access: an absent key and null are nothing; a value of another type is kCorrupt.
Result<std::optional<std::size_t>> find_count(const json::Object& config, std::string_view key,
                                              const CountRange& range);
Result<std::optional<double>> find_number(const json::Object& config, std::string_view key, const NumberRange& range);
Result<std::optional<bool>> find_flag(const json::Object& config, std::string_view key);
Result<std::optional<std::string_view>> find_text(const json::Object& config, std::string_view key);
Result<const json::Object*> find_object(const json::Object& config, std::string_view key);  // may be null

// Where the families differ in what an absent key means. Source: transformers 5, configuration_*.py.
struct JsonDefaults {
  std::string_view activation_key = "hidden_act";
  std::string_view activation = "silu";
  std::size_t kv_heads = 0;  // 0 = as many as heads, which null means in every family
  std::size_t head_dim = 0;  // 0 = hidden size / heads
  std::size_t context_length = 2'048;
  bool is_tied = false;
  double theta = 10'000;
  double norm_eps = 1e-6;
  double rotary_share = 1;  // of a head, `partial_rotary_factor`
  bool may_have_experts = false;
};

/// Shape, norms, activation and one rope for all layers; no windows. Refuses by name what no family here runs
/// (quantised weights, unknown activation or rope type).
Result<ModelConfig> read_json_config(const json::Object& config, const JsonDefaults& defaults);

/// The rope that `rope` (a `rope_scaling` or `rope_parameters` object, or null) describes for the model in `shape`, of
/// which head dimension and context length are read; `theta` and `rotary_share` where it names none.
Result<kernels::RopeDescription> read_json_rope(const json::Object& config, const json::Object* rope, double theta,
                                                const ModelConfig& shape, double rotary_share = 1);

/// `sliding_window` of a family whose layers all slide: `absent` where the key is not there, none where it is null.
Status read_one_window(const json::Object& config, std::size_t absent, ModelConfig& result);

/// `layer_types`: true for each layer with sliding attention. Nothing when the key is absent.
Result<std::optional<std::vector<bool>>> read_layer_types(const json::Object& config, std::size_t layers);

}  // namespace autoglm::model

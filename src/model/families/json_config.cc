// SPDX-License-Identifier: Apache-2.0
#include "model/families/json_config.h"

#include <cmath>

#include "base/log.h"
#include "model/formats/compressed_tensors.h"
#include "model/formats/transposed_matrix.h"

namespace autoglm::model {
namespace {

std::unexpected<Error> wrong_type(std::string_view key, std::string_view expected) {
  return fail(Code::kCorrupt, "config.json: \"" + std::string(key) + "\" is not " + std::string(expected));
}

const json::Value* present(const json::Object& config, std::string_view key) {
  const json::Value* const value = config.if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

Result<std::size_t> need_count(const json::Object& config, std::string_view key, const CountRange& range) {
  const auto value = TRY(find_count(config, key, range));
  if (!value) return fail(Code::kCorrupt, "config.json has no \"" + std::string(key) + "\"");
  return *value;
}

// What would change the computation and is not done by any family here.
Status refuse_what_we_lack(const json::Object& config, bool may_have_experts) {
  TRY(find_compressed_scheme(config));  // these refuse what else weights may be quantised by
  TRY(find_transposed_scheme(config));
  for (const std::string_view key : {"num_local_experts", "num_experts", "n_routed_experts"}) {
    if (!may_have_experts && present(config, key) != nullptr)
      return refuse("the checkpoint is a mixture of experts, which this family has not");
  }
  for (const std::string_view key : {"kv_lora_rank", "q_lora_rank"}) {
    if (present(config, key) != nullptr)
      return refuse("latent attention (\"" + std::string(key) + "\") is not supported");
  }
  if (TRY(find_flag(config, "use_bidirectional_attention")).value_or(false)) {
    return refuse("the checkpoint attends in both directions, which is not supported");
  }
  return {};
}

Result<kernels::Activation> read_activation(const json::Object& config, const JsonDefaults& defaults) {
  const auto name = TRY(find_text(config, defaults.activation_key)).value_or(defaults.activation);
  if (name == "silu" || name == "swish") return kernels::Activation::kSilu;
  if (name == "gelu_pytorch_tanh") return kernels::Activation::kGeluTanh;
  return refuse("the activation \"" + base::printable(name) + "\" is not supported; silu and gelu_pytorch_tanh are");
}

}  // namespace

Result<std::optional<std::size_t>> find_count(const json::Object& config, std::string_view key,
                                              const CountRange& range) {
  const json::Value* const value = present(config, key);
  if (value == nullptr) return std::nullopt;
  if (value->is_uint64()) return TRY(in_range(value->get_uint64(), range));
  if (!value->is_int64()) return wrong_type(key, "an integer");
  if (value->get_int64() < 0) return refuse("config.json: \"" + std::string(key) + "\" is negative");
  return TRY(in_range(static_cast<std::uint64_t>(value->get_int64()), range));
}

Result<std::optional<double>> find_number(const json::Object& config, std::string_view key, const NumberRange& range) {
  const json::Value* const value = present(config, key);
  if (value == nullptr) return std::nullopt;
  if (value->is_double()) return TRY(in_range(value->get_double(), range));
  if (value->is_int64()) return TRY(in_range(static_cast<double>(value->get_int64()), range));
  if (value->is_uint64()) return TRY(in_range(static_cast<double>(value->get_uint64()), range));
  return wrong_type(key, "a number");
}

Result<std::optional<bool>> find_flag(const json::Object& config, std::string_view key) {
  const json::Value* const value = present(config, key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_bool()) return wrong_type(key, "true or false");
  return value->get_bool();
}

Result<std::optional<std::string_view>> find_text(const json::Object& config, std::string_view key) {
  const json::Value* const value = present(config, key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) return wrong_type(key, "a string");
  return json::view(value->get_string());
}

Result<const json::Object*> find_object(const json::Object& config, std::string_view key) {
  const json::Value* const value = present(config, key);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) return wrong_type(key, "an object");
  return &value->get_object();
}

namespace {

Result<kernels::Llama3Scaling> read_llama3(const json::Object& scaling, std::size_t context_length) {
  const auto number = [&](std::string_view key, const NumberRange& range) -> Result<double> {
    const auto value = TRY(find_number(scaling, key, range));
    if (!value) return fail(Code::kCorrupt, "config.json: the rope scaling has no \"" + std::string(key) + "\"");
    return *value;
  };
  kernels::Llama3Scaling result;
  result.factor = TRY(number("factor", ranges::kRopeFactor));
  result.low_frequency_factor = TRY(number("low_freq_factor", ranges::kRopeFactor));
  result.high_frequency_factor = TRY(number("high_freq_factor", ranges::kRopeFactor));
  const auto original = TRY(find_number(scaling, "original_max_position_embeddings", ranges::kOriginalContext));
  result.original_context = original.value_or(static_cast<double>(context_length));
  return result;
}

Result<std::vector<float>> read_factors(const json::Object& scaling, std::string_view key) {
  const json::Value* const value = present(scaling, key);
  if (value == nullptr)
    return fail(Code::kCorrupt, "config.json: the rope scaling has no \"" + std::string(key) + "\"");
  if (!value->is_array() || value->get_array().empty()) return wrong_type(key, "an array of numbers");
  std::vector<float> factors;
  for (const json::Value& entry : value->get_array()) {
    if (!entry.is_number()) return wrong_type(key, "an array of numbers");
    factors.push_back(entry.to_number<float>());
  }
  return factors;
}

// Two lists of divisors, and a factor on cos and sin by how far the context was stretched. Source: transformers,
// modeling_rope_utils.py.
Status read_longrope(const json::Object& config, const json::Object& scaling, const ModelConfig& shape,
                     kernels::RopeDescription& rope) {
  rope.frequency_divisors = TRY(read_factors(scaling, "short_factor"));
  rope.long_divisors = TRY(read_factors(scaling, "long_factor"));
  constexpr CountRange kOriginal{"rope scaling's original context", 2, ranges::kContext.max};
  constexpr std::string_view kKey = "original_max_position_embeddings";
  auto original = TRY(find_count(config, kKey, kOriginal));
  if (!original) original = TRY(find_count(scaling, kKey, kOriginal));
  rope.short_positions = original.value_or(shape.context_length);
  double stretched = static_cast<double>(shape.context_length) / static_cast<double>(rope.short_positions);
  if (!original) stretched = TRY(find_number(scaling, "factor", ranges::kRopeFactor)).value_or(1);
  const auto factor = TRY(find_number(scaling, "attention_factor", ranges::kRopeFactor));
  rope.attention_factor = factor.value_or(kernels::longrope_attention_factor(stretched, rope.short_positions));
  return {};
}

// Bounds of a blend, and a factor on cos and sin. Source: transformers, modeling_rope_utils.py.
Status read_yarn(const json::Object& scaling, const ModelConfig& shape, kernels::RopeDescription& rope) {
  kernels::YarnScaling yarn;
  const auto original = TRY(find_number(scaling, "original_max_position_embeddings", ranges::kOriginalContext));
  const auto context = static_cast<double>(shape.context_length);
  yarn.original_context = original.value_or(context);
  const auto factor = TRY(find_number(scaling, "factor", ranges::kRopeFactor));
  if (!factor && !original) return fail(Code::kCorrupt, "config.json: the rope scaling has no \"factor\"");
  yarn.factor = factor.value_or(context / yarn.original_context);
  yarn.fast_turns = TRY(find_number(scaling, "beta_fast", ranges::kRopeTurns)).value_or(yarn.fast_turns);
  yarn.slow_turns = TRY(find_number(scaling, "beta_slow", ranges::kRopeTurns)).value_or(yarn.slow_turns);
  yarn.is_truncated = TRY(find_flag(scaling, "truncate")).value_or(true);
  const double scale = TRY(find_number(scaling, "mscale", ranges::kRopeLogScale)).value_or(0);
  const double all = TRY(find_number(scaling, "mscale_all_dim", ranges::kRopeLogScale)).value_or(0);
  const double usual = scale != 0 && all != 0 ? kernels::yarn_attention_factor(yarn.factor, scale) /
                                                    kernels::yarn_attention_factor(yarn.factor, all)
                                              : kernels::yarn_attention_factor(yarn.factor);
  rope.attention_factor = TRY(find_number(scaling, "attention_factor", ranges::kRopeFactor)).value_or(usual);
  rope.yarn = yarn;
  return {};
}

}  // namespace

Result<kernels::RopeDescription> read_json_rope(const json::Object& config, const json::Object* rope, double theta,
                                                const ModelConfig& shape, double rotary_share) {
  static const json::Object kNone;
  const json::Object& scaling = rope == nullptr ? kNone : *rope;
  kernels::RopeDescription result;
  result.theta = TRY(find_number(scaling, "rope_theta", ranges::kTheta)).value_or(theta);
  auto share = TRY(find_number(scaling, "partial_rotary_factor", ranges::kRotaryShare));
  if (!share) share = TRY(find_number(config, "partial_rotary_factor", ranges::kRotaryShare));
  result.rotary_dim = static_cast<std::size_t>(static_cast<double>(shape.head_dim) * share.value_or(rotary_share));
  auto type = TRY(find_text(scaling, "rope_type"));
  if (!type) type = TRY(find_text(scaling, "type"));
  const std::string_view kind = type.value_or("default");
  if (kind == "linear") {
    const auto factor = TRY(find_number(scaling, "factor", ranges::kRopeFactor));
    if (!factor) return fail(Code::kCorrupt, "config.json: the rope scaling has no \"factor\"");
    result.linear_factor = *factor;
  } else if (kind == "llama3") {
    result.llama3 = TRY(read_llama3(scaling, shape.context_length));
  } else if (kind == "longrope" || kind == "su") {  // its first name
    TRY(read_longrope(config, scaling, shape, result));
  } else if (kind == "yarn") {
    TRY(read_yarn(scaling, shape, result));
  } else if (kind != "default") {
    return refuse("the rope type \"" + base::printable(kind) +
                  "\" is not supported; default, linear, llama3, longrope and yarn are");
  }
  return result;
}

Status read_one_window(const json::Object& config, std::size_t absent, ModelConfig& result) {
  auto window = TRY(find_count(config, "sliding_window", ranges::kWindow));
  if (!config.contains("sliding_window") && absent > 0) window = absent;
  for (LayerConfig& layer : result.layers) layer.window = window.value_or(0);
  return {};
}

Result<std::optional<std::vector<bool>>> read_layer_types(const json::Object& config, std::size_t layers) {
  const json::Value* const value = present(config, "layer_types");
  if (value == nullptr) return std::nullopt;
  if (!value->is_array()) return wrong_type("layer_types", "an array");
  if (value->get_array().size() != layers) {
    return fail(Code::kCorrupt, "config.json: \"layer_types\" has " + std::to_string(value->get_array().size()) +
                                    " entries for " + std::to_string(layers) + " layers");
  }
  std::vector<bool> is_sliding;
  for (const json::Value& entry : value->get_array()) {
    if (!entry.is_string()) return wrong_type("layer_types", "an array of strings");
    const std::string_view kind = json::view(entry.get_string());
    if (kind != "full_attention" && kind != "sliding_attention") {
      return refuse("the layer type \"" + base::printable(kind) + "\" is not supported");
    }
    is_sliding.push_back(kind == "sliding_attention");
  }
  return is_sliding;
}

Result<ModelConfig> read_json_config(const json::Object& config, const JsonDefaults& defaults) {
  TRY(refuse_what_we_lack(config, defaults.may_have_experts));
  ModelConfig result;
  result.architecture = TRY(find_text(config, "model_type")).value_or("");
  result.vocab = TRY(need_count(config, "vocab_size", ranges::kVocab));
  result.hidden = TRY(need_count(config, "hidden_size", ranges::kHidden));
  result.layers.resize(TRY(need_count(config, "num_hidden_layers", ranges::kLayers)));
  result.heads = TRY(need_count(config, "num_attention_heads", ranges::kHeads));
  result.kv_heads = TRY(find_count(config, "num_key_value_heads", ranges::kKvHeads)).value_or(result.heads);
  if (defaults.kv_heads != 0 && !config.contains("num_key_value_heads")) result.kv_heads = defaults.kv_heads;
  const auto head_dim = TRY(find_count(config, "head_dim", ranges::kHeadDim));
  const std::size_t usual_dim = defaults.head_dim != 0 ? defaults.head_dim : result.hidden / result.heads;
  result.head_dim = TRY(in_range(head_dim.value_or(usual_dim), ranges::kHeadDim));
  result.feed_forward = TRY(need_count(config, "intermediate_size", ranges::kFeedForward));
  result.context_length =
      TRY(find_count(config, "max_position_embeddings", ranges::kContext)).value_or(defaults.context_length);
  result.norm_eps = TRY(find_number(config, "rms_norm_eps", ranges::kNormEps)).value_or(defaults.norm_eps);
  result.activation = TRY(read_activation(config, defaults));
  result.attention_scale = 1 / std::sqrt(static_cast<double>(result.head_dim));
  result.has_tied_head = TRY(find_flag(config, "tie_word_embeddings")).value_or(defaults.is_tied);

  // Newer files write `rope_parameters`; older ones `rope_theta` beside `rope_scaling`.
  const json::Object* rope = TRY(find_object(config, "rope_parameters"));
  if (rope == nullptr) rope = TRY(find_object(config, "rope_scaling"));
  const bool is_by_layer = rope != nullptr && (rope->contains("full_attention") || rope->contains("sliding_attention"));
  const double theta = TRY(find_number(config, "rope_theta", ranges::kTheta)).value_or(defaults.theta);
  result.ropes.push_back(
      TRY(read_json_rope(config, is_by_layer ? nullptr : rope, theta, result, defaults.rotary_share)));
  stretch_context(result);
  return result;
}

}  // namespace autoglm::model

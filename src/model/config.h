// SPDX-License-Identifier: Apache-2.0
// The description that the one transformer runs: what a family file (families/) makes of a checkpoint's metadata. Plain
// values, checked by check_config() before anything is sized by them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "kernels/ops.h"
#include "kernels/rope_table.h"

namespace autoglm::model {

struct LayerConfig {
  std::size_t window = 0;    // 0 = all earlier positions, else only the last `window`, this one included
  std::size_t rope = 0;      // index into ModelConfig::ropes
  bool has_experts = false;  // in place of one MLP
};

// The MLP of layers with experts: a router chooses a few for each token. (kernels::RouteJob)
struct ExpertConfig {
  std::size_t count = 0;                // 0 = the model has none
  std::size_t used = 0;                 // by a token
  std::size_t feed_forward = 0;         // of one
  std::size_t shared_feed_forward = 0;  // of the one that every token meets; 0 = there is none
  kernels::Gating gating = kernels::Gating::kSoftmax;
  bool has_bias = false;  // on the choice
  std::size_t groups = 1;
  std::size_t groups_used = 1;
  bool is_normalised = false;
  double scale = 1;
};

struct ModelConfig {
  std::string architecture;  // as the family calls itself: "llama", "gemma3"
  std::size_t vocab = 0;
  std::size_t hidden = 0;
  std::size_t heads = 0;
  std::size_t kv_heads = 0;
  std::size_t head_dim = 0;
  std::size_t feed_forward = 0;
  std::size_t context_length = 0;
  double norm_eps = 0;
  float norm_offset = 0;  // added to every stored norm weight: 1 where the checkpoint keeps w - 1
  kernels::Activation activation = kernels::Activation::kSilu;
  double embedding_scale = 1;
  double attention_scale = 0;
  double attention_softcap = 0;  // 0 = none
  double logit_softcap = 0;      // 0 = none
  bool has_tied_head = false;
  bool has_qkv_bias = false;
  bool has_output_bias = false;  // of the attention's output projection
  bool has_mlp_bias = false;
  bool has_qk_norm = false;                     // RMSNorm of each query and key head before the rope
  bool has_post_norms = false;                  // a norm of what attention and MLP give back, before it is added
  std::vector<kernels::RopeDescription> ropes;  // their `positions` are set when the tables are made
  std::vector<LayerConfig> layers;
  ExpertConfig experts;
  // Layers behind the last that guess tokens ahead (multi-token prediction): they are in the file and are not run.
  std::size_t skipped_layers = 0;

  std::size_t query_width() const { return heads * head_dim; }
  std::size_t kv_width() const { return kv_heads * head_dim; }
  /// As LanguageModel's.
  std::size_t short_context() const {
    return ropes.empty() || ropes.front().long_divisors.empty() ? 0 : ropes.front().short_positions;
  }
};

// What a hyper-parameter of an untrusted file may be. The bounds are far above any checkpoint that we know of and low
// enough that no product of three of them wraps.
struct CountRange {
  std::string_view name;
  std::uint64_t min;
  std::uint64_t max;
};

namespace ranges {
inline constexpr CountRange kVocab{"vocabulary", 1, 4'194'304};
inline constexpr CountRange kHidden{"hidden size", 1, 131'072};
inline constexpr CountRange kLayers{"layers", 1, 1'024};
inline constexpr CountRange kHeads{"attention heads", 1, 1'024};
inline constexpr CountRange kKvHeads{"key-value heads", 1, 1'024};
inline constexpr CountRange kHeadDim{"head dimension", 2, kernels::KvLayer::kMaxHeadDim};
inline constexpr CountRange kFeedForward{"feed-forward size", 1, 1'048'576};
inline constexpr CountRange kContext{"context length", 1, 16'777'216};
inline constexpr CountRange kExperts{"number of experts", 1, 1'024};
inline constexpr CountRange kExpertsUsed{"number of experts for a token", 1, 1'024};
inline constexpr CountRange kExpertFeedForward{"feed-forward size of an expert", 1, 1'048'576};
inline constexpr CountRange kSharedExperts{"number of shared experts", 0, 64};
inline constexpr CountRange kExpertGroups{"number of groups of experts", 1, kernels::RouteJob::kMaxGroups};
inline constexpr CountRange kDenseLayers{"number of dense layers", 0, 1'024};
inline constexpr CountRange kSkippedLayers{"number of layers that guess ahead", 0, 16};
inline constexpr CountRange kWindow{"sliding window", 1, 16'777'216};
inline constexpr CountRange kWindowPattern{"sliding window pattern", 1, 1'024};
}  // namespace ranges

struct NumberRange {
  std::string_view name;
  double min;
  double max;
};

namespace ranges {
inline constexpr NumberRange kNormEps{"norm epsilon", 0, 0.1};
inline constexpr NumberRange kTheta{"rope theta", 1, 1e12};
inline constexpr NumberRange kRopeFactor{"rope scaling factor", 1e-3, 1e6};
inline constexpr NumberRange kOriginalContext{"rope scaling's original context", 1, 1e9};
inline constexpr NumberRange kRopeTurns{"rope scaling's number of turns", 1e-3, 1e6};
inline constexpr NumberRange kRopeLogScale{"rope scaling's mscale", 0, 1e3};
inline constexpr NumberRange kRotaryShare{"rotary share of a head", 1e-3, 1};
inline constexpr NumberRange kScalar{"attention scalar", 1e-6, 1e6};
inline constexpr NumberRange kExpertScale{"scale of experts", 1e-6, 1e6};
inline constexpr NumberRange kSoftcap{"softcap", 0, 1e6};
}  // namespace ranges

/// kInvalidArgument: what a checkpoint has, and we have not.
inline std::unexpected<Error> refuse(std::string message) { return fail(Code::kInvalidArgument, std::move(message)); }

/// `value` when it is in the range, else kInvalidArgument naming both. NaN is out of every range.
Result<std::size_t> in_range(std::uint64_t value, const CountRange& range);
Result<double> in_range(double value, const NumberRange& range);

/// A YaRN rope makes the context as long as it was made for, whatever the metadata says of the original model.
void stretch_context(ModelConfig& config);

/// Every relation between the numbers that the transformer relies on: ranges, heads a multiple of KV heads, ropes that
/// fit a head, layers that name a rope. kInvalidArgument names what does not hold.
Status check_config(const ModelConfig& config);

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
// Runs a layer's experts grouped by expert: the rows that chose one are picked, go through it together and are added
// back, expert after expert. A row's result is the sum over its own experts in the order of their numbers, whatever
// rows run beside it. Engine thread; memory from the arena of `ops`, but where an expert is packed on its first use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/ops.h"
#include "model/config.h"
#include "model/experts.h"
#include "model/weights.h"
#include "telemetry/stages.h"

namespace autoglm::model {

class ExpertMixer final {
 public:
  ExpertMixer(const ModelConfig& config, kernels::Ops& ops, Experts& experts)
      : config_(config), ops_(ops), experts_(experts) {}

  /// hidden[t] += what the experts of row t make of normed[t].
  ///   normed   [rows, hidden], prepared in forms(layer)
  void add(std::size_t layer, const LayerWeights& weights, const kernels::Activations& normed,
           const kernels::Tensor& hidden, telemetry::StageTimer& time);

  /// The forms that router and experts of a layer read.
  kernels::ActivationForms forms(std::size_t layer, const LayerWeights& weights) const {
    return experts_.forms(layer) | forms_of(ops_, weights.router);
  }
  /// Of the arena that add() takes for so many rows.
  static std::size_t arena_bytes(const ModelConfig& config, std::size_t rows);

 private:
  // The rows of each expert, and the weights that they give it.
  struct Groups {
    const std::uint32_t* first = nullptr;  // [experts + 1], into the others
    const std::uint32_t* rows = nullptr;   // [rows * used], rising for an expert
    const float* weights = nullptr;        // [rows * used]
  };

  Groups choose(const LayerWeights& weights, const kernels::Activations& normed);
  void run(std::size_t layer, std::size_t expert, const kernels::Activations& in, const kernels::Tensor& hidden,
           const Groups& groups, telemetry::StageTimer& time);

  const ModelConfig& config_;
  kernels::Ops& ops_;
  Experts& experts_;
};

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
// Watches every row of logits that a model returns and remembers its bits under the tokens that led to it: the same
// tokens must give the same bits again, whatever ran beside them and however they were cut. One thread.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <unordered_map>
#include <vector>

#include "model/language_model.h"

namespace autoglm::parity {

class Witness final {
 public:
  /// From now on a prefix that was never seen counts as different: the reference has been recorded.
  void end_of_reference() { has_reference_ = true; }
  void see(std::uint64_t prefix, std::span<const float> logits);

  std::size_t compared() const { return compared_; }
  std::size_t different() const { return different_; }

 private:
  std::unordered_map<std::uint64_t, std::uint64_t> bits_;  // prefix -> digest of its logits
  bool has_reference_ = false;
  std::size_t compared_ = 0;
  std::size_t different_ = 0;
};

// A model whose logits are shown to a witness. Keeps a digest of each prefix where the model keeps its KV, so that it
// needs nobody to say which sequence a row belongs to. Reserves once, for all engines that run on it one after the
// other.
class WitnessedModel final : public model::LanguageModel {
 public:
  WitnessedModel(model::LanguageModel& model, Witness& witness, std::size_t blocks, std::size_t max_rows,
                 std::size_t max_logit_rows);

  std::size_t vocab() const override { return model_.vocab(); }
  std::size_t context_length() const override { return model_.context_length(); }
  std::size_t short_context() const override { return model_.short_context(); }
  std::size_t kv_bytes_per_block() const override { return model_.kv_bytes_per_block(); }
  void reserve(std::size_t blocks, std::size_t max_rows, std::size_t max_logit_rows) override;
  void copy_block(std::uint32_t from, std::uint32_t to) override;
  model::Logits forward(const model::Batch& batch) override;

  /// Throws at a batch of more sequences from now on: the step loop then runs each of them alone.
  void take_at_most(std::size_t sequences) { most_sequences_ = sequences; }

 private:
  std::uint64_t& prefix_at(const kernels::SequenceRows& rows, std::size_t position);

  model::LanguageModel& model_;
  Witness& witness_;
  const std::size_t max_rows_;
  const std::size_t max_logit_rows_;
  std::size_t most_sequences_ = std::numeric_limits<std::size_t>::max();
  std::vector<std::uint64_t> prefixes_;  // [blocks * kBlockTokens]
};

}  // namespace autoglm::parity

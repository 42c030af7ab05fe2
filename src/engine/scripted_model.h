// SPDX-License-Identifier: Apache-2.0
// The model that follows a script. It stands where the transformer stands: its "KV" is the tokens themselves, kept by
// block, and everything it says is derived from them, so that a wrong block table shows in what it says and a preempted
// sequence is recomputed like any other. Engine thread only.
#pragma once

#include <string>
#include <vector>

#include "engine/script.h"
#include "model/language_model.h"

namespace autoglm::engine {

class ScriptedModel final : public model::LanguageModel {
 public:
  static constexpr std::size_t kContextLength = 32768;

  explicit ScriptedModel(Script script) : script_(std::move(script)) {}

  std::size_t vocab() const override { return kScriptVocab; }
  std::size_t context_length() const override { return kContextLength; }
  std::size_t kv_bytes_per_block() const override;
  void reserve(std::size_t blocks, std::size_t max_rows, std::size_t max_logit_rows) override;
  void copy_block(std::uint32_t from, std::uint32_t to) override;
  model::Logits forward(const model::Batch& batch) override;

 private:
  void store(const kernels::SequenceRows& rows, std::span<const model::TokenId> tokens);
  void recall(const kernels::SequenceRows& rows, std::size_t length);
  void write_logits(std::size_t length, std::span<float> row);
  void spread(std::uint64_t key, std::span<float> row) const;

  const Script script_;
  std::vector<model::TokenId> memory_;  // [blocks * kBlockTokens]
  std::vector<float> logits_;           // [max_logit_rows, kScriptVocab]
  std::vector<model::TokenId> prefix_;  // one sequence's tokens, read back through its block table
  std::string prompt_;
};

}  // namespace autoglm::engine

// SPDX-License-Identifier: Apache-2.0
// What one step runs: rows of tokens that belong to sequences, and which rows want logits. Made by the scheduler, read
// by the model. Plain memory owned by the scheduler, valid until its next plan().
#pragma once

#include <cstdint>
#include <span>

#include "kernels/ops.h"

namespace autoglm::model {

using TokenId = std::int32_t;

struct Batch {
  std::span<const TokenId> tokens;                   // [rows]
  std::span<const kernels::SequenceRows> sequences;  // cover the rows in order, without gaps
  std::span<const std::uint32_t> logit_rows;         // rows whose logits are wanted, rising
};

// [logit_rows, vocab] f32, row-major, before temperature. Lives in the model's arena until the next forward().
struct Logits {
  std::size_t rows = 0;
  std::size_t vocab = 0;
  float* data = nullptr;
  std::span<float> row(std::size_t i) const { return {data + i * vocab, vocab}; }
};

}  // namespace autoglm::model

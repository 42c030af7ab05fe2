// SPDX-License-Identifier: Apache-2.0
// What the batcher knows of a model that makes one vector of a text: its limits and forward(). The encoder is one;
// tests have another. One thread, once loaded.
#pragma once

#include <cstddef>
#include <span>

#include "model/batch.h"

namespace autoglm::model {

// Texts one after the other, without padding.
struct TextBatch {
  std::span<const TokenId> tokens;       // [rows]
  std::span<const std::size_t> lengths;  // of the texts, each at least 1; their sum is the rows
  // Where the second of a pair begins in each text, its length where there is no second; empty = nowhere.
  std::span<const std::size_t> second_begins = {};
};

// [texts, width] f32, row-major. Lives in the model's memory until the next forward().
struct Vectors {
  std::size_t rows = 0;
  std::size_t width = 0;
  const float* data = nullptr;
  std::span<const float> row(std::size_t i) const { return {data + i * width, width}; }
};

class EmbeddingModel {
 public:
  virtual ~EmbeddingModel() = default;

  virtual std::size_t vocab() const = 0;
  virtual std::size_t width() const = 0;       // of a vector
  virtual std::size_t max_tokens() const = 0;  // of one text

  /// Reserves scratch for batches of up to `max_texts` texts of `max_rows` tokens together. Called once, before the
  /// first forward(), which then does not allocate.
  virtual void reserve(std::size_t max_rows, std::size_t max_texts) = 0;

  /// A vector for each text, the same bits whatever else is in the batch.
  virtual Vectors forward(const TextBatch& batch) = 0;
};

}  // namespace autoglm::model

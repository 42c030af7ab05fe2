// SPDX-License-Identifier: Apache-2.0
// An EmbeddingModel without weights: the vector of a text is its length and the sum of its ids; as a reranker it has
// the sum of the second text's alone. Says what its batches were, and can be held at the door of one. Tests only.
#pragma once

#include <condition_variable>
#include <vector>

#include "base/check.h"
#include "base/mutex.h"
#include "model/embedding_model.h"

namespace autoglm::engine {

class FakeEmbeddingModel final : public model::EmbeddingModel {
 public:
  static constexpr std::size_t kVocab = 1000;
  static constexpr std::size_t kMaxTokens = 64;

  explicit FakeEmbeddingModel(bool is_reranker = false) : width_(is_reranker ? 1 : 2) {}

  std::size_t vocab() const override { return kVocab; }
  std::size_t width() const override { return width_; }
  std::size_t max_tokens() const override { return kMaxTokens; }
  void reserve(std::size_t max_rows, std::size_t max_texts) override {
    max_rows_ = max_rows;
    max_texts_ = max_texts;
  }

  model::Vectors forward(const model::TextBatch& batch) override EXCLUDES(mutex_) {
    CHECK(batch.tokens.size() <= max_rows_ && batch.lengths.size() <= max_texts_);
    base::MutexLock lock(mutex_);
    ++entered_;
    changed_.notify_all();
    while (is_held_) lock.wait(changed_);
    vectors_.clear();
    std::size_t row = 0;
    for (std::size_t text = 0; text < batch.lengths.size(); ++text) {
      const std::size_t length = batch.lengths[text];
      float sum = 0;
      for (std::size_t i = width_ == 1 ? batch.second_begins[text] : 0; i < length; ++i) {
        sum += static_cast<float>(batch.tokens[row + i]);
      }
      row += length;
      if (width_ == 2) vectors_.push_back(static_cast<float>(length));
      vectors_.push_back(sum);
    }
    batches_.push_back(batch.lengths.size());
    return {.rows = batch.lengths.size(), .width = width_, .data = vectors_.data()};
  }

  void hold(bool is_held) EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    is_held_ = is_held;
    changed_.notify_all();
  }
  void wait_until_entered(std::size_t batches) EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    while (entered_ < batches) lock.wait(changed_);
  }
  /// Texts of each batch so far.
  std::vector<std::size_t> batches() EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    return batches_;
  }

 private:
  const std::size_t width_;
  std::size_t max_rows_ = 0;
  std::size_t max_texts_ = 0;
  base::Mutex mutex_;
  std::condition_variable changed_;
  bool is_held_ GUARDED_BY(mutex_) = false;
  std::size_t entered_ GUARDED_BY(mutex_) = 0;
  std::vector<float> vectors_;
  std::vector<std::size_t> batches_ GUARDED_BY(mutex_);
};

}  // namespace autoglm::engine

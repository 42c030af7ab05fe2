// SPDX-License-Identifier: Apache-2.0
// The encoder beside the transformer: runs what an EncoderConfig describes on packed weights, all texts of a batch at
// once, each seeing the whole of itself and nothing else. (docs/decisions/0014-encoders.md) One thread; forward() never
// allocates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/ops.h"
#include "model/embedding_model.h"
#include "model/encoder_config.h"
#include "model/encoder_weights.h"
#include "model/formats/checkpoint.h"
#include "model/load.h"

namespace autoglm::model {

class Encoder final : public EmbeddingModel {
 public:
  /// Packs the checkpoint's weights and keeps it (the embedding is read where the file is mapped).
  static Result<std::unique_ptr<Encoder>> make(Checkpoint checkpoint, const EncoderDescription& description,
                                               const SentenceSettings& settings, const LoadOptions& options);

  std::size_t vocab() const override { return config_.vocab; }
  std::size_t width() const override { return config_.has_score ? 1 : config_.hidden; }
  std::size_t max_tokens() const override { return config_.max_tokens(); }
  void reserve(std::size_t max_rows, std::size_t max_texts) override;
  Vectors forward(const TextBatch& batch) override;

  const EncoderConfig& config() const { return config_; }

 private:
  Encoder(Checkpoint checkpoint, const EncoderConfig& config, const SentenceSettings& settings,
          const LoadOptions& options);

  void begin(const TextBatch& batch);
  kernels::Activations embed(const TextBatch& batch, const kernels::Tensor& hidden);
  kernels::Activations run_layer(std::size_t index, const kernels::Tensor& hidden, const kernels::Activations& in,
                                 std::size_t mark);
  kernels::Tensor attend(const EncoderLayer& layer, const kernels::Activations& in);
  kernels::ActivationForms input_forms(std::size_t layer) const;
  void add_places(const TextBatch& batch, const kernels::Tensor& places) const;
  Vectors pool_vectors(const kernels::Tensor& hidden);
  Vectors score_texts(const kernels::Tensor& hidden);
  std::size_t arena_bytes(std::size_t rows, std::size_t texts) const;

  Checkpoint checkpoint_;
  const EncoderConfig config_;
  const SentenceSettings settings_;
  base::ThreadPool pool_;
  kernels::Arena arena_;
  std::unique_ptr<kernels::Ops> ops_;
  EncoderWeights weights_;
  // Keys and values of one layer at a time: each text has whole blocks, one after the other. Nothing would be gained by
  // rounding them: they are read while they are in the cache.
  kernels::Buffer kv_memory_;
  kernels::KvLayer kv_;
  std::vector<std::uint32_t> blocks_;             // 0, 1, ..: a text's table is a part of it
  std::vector<kernels::SequenceRows> sequences_;  // of the batch; as many as max_texts fit without allocating
  std::size_t max_rows_ = 0;
  std::size_t max_texts_ = 0;
  telemetry::Stages* const stages_;  // may be null
};

}  // namespace autoglm::model

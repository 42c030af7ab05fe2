// SPDX-License-Identifier: Apache-2.0
// The one transformer: runs what a ModelConfig describes on packed weights and paged KV. Families differ in the
// description only. Engine thread only; forward() never allocates.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "kernels/ops.h"
#include "kernels/rope_table.h"
#include "model/families/family.h"
#include "model/formats/checkpoint.h"
#include "model/kv_cache.h"
#include "model/language_model.h"
#include "model/load.h"
#include "model/weights.h"

namespace autoglm::model {

class Transformer final : public LanguageModel {
 public:
  /// Packs the checkpoint's weights and keeps it (the embedding is read where the file is mapped).
  static Result<std::unique_ptr<Transformer>> make(Checkpoint checkpoint, Description description,
                                                   const LoadOptions& options);

  std::size_t vocab() const override { return config_.vocab; }
  std::size_t context_length() const override { return config_.context_length; }
  std::size_t short_context() const override { return config_.short_context(); }
  std::size_t kv_bytes_per_block() const override { return KvCache::bytes_per_block(config_, kv_type_); }
  void reserve(std::size_t blocks, std::size_t max_rows, std::size_t max_logit_rows) override;
  void copy_block(std::uint32_t from, std::uint32_t to) override { kv_.copy_block(from, to); }
  Logits forward(const Batch& batch) override;
  StageWork work(telemetry::Stage stage) const override;
  base::ThreadPool* pool() override { return &pool_; }
  std::size_t unpacked_bytes() const override;

  const ModelConfig& config() const { return config_; }
  const Weights& weights() const { return weights_; }

  // Sees the residual stream after each stage, for parity tests: [rows, hidden] after the embedding (stage 0), after
  // layer i (stage i + 1). Set before forward(); an empty function sees nothing.
  using Watch = std::function<void(std::size_t stage, const kernels::Tensor& hidden)>;
  void set_watch(Watch watch) { watch_ = std::move(watch); }

 private:
  Transformer(Checkpoint checkpoint, Description description, const LoadOptions& options);

  void make_key_shifts();
  void check_batch(const Batch& batch) const;
  void run_layer(std::size_t index, const kernels::Tensor& hidden, std::span<const kernels::SequenceRows> sequences);
  kernels::Tensor run_last_layer(const kernels::Tensor& hidden, const Batch& batch);
  kernels::Tensor pick(const kernels::Tensor& from, std::span<const std::uint32_t> rows);
  std::span<const kernels::SequenceRows> logit_sequences(const Batch& batch);
  kernels::Tensor store_keys(std::size_t index, const kernels::Tensor& hidden,
                             std::span<const kernels::SequenceRows> sequences);
  void attend(std::size_t index, const kernels::Tensor& query, const kernels::Tensor& hidden,
              std::span<const kernels::SequenceRows> sequences);
  void feed_forward(std::size_t index, const kernels::Tensor& hidden);
  void add_gated(const LayerWeights& layer, const kernels::Activations& in, const kernels::Tensor& hidden,
                 telemetry::StageTimer& time);
  void add_projected(const kernels::Tensor& hidden, const kernels::Activations& in, const Projection& projection,
                     const std::vector<float>& post_norm, telemetry::StageTimer& time);
  const kernels::RopeTable* long_rope(std::size_t index) const {
    return long_ropes_.empty() ? nullptr : &long_ropes_[index].table();
  }
  Logits head(const kernels::Tensor& wanted);
  std::size_t arena_bytes(std::size_t rows, std::size_t logit_rows) const;

  Checkpoint checkpoint_;
  ModelConfig config_;
  kernels::KvType kv_type_;
  base::ThreadPool pool_;
  kernels::Arena arena_;
  std::unique_ptr<kernels::Ops> ops_;
  Weights weights_;
  std::vector<kernels::Rope> ropes_;
  std::vector<kernels::Rope> long_ropes_;       // beside ropes_; empty where all sequences are alike
  std::vector<std::vector<float>> key_shifts_;  // of each layer, see RotateStore; empty = none
  KvCache kv_;
  std::size_t max_rows_ = 0;
  std::size_t max_logit_rows_ = 0;
  std::vector<kernels::SequenceRows> logit_sequences_;  // as many as max_logit_rows_ fit without allocating
  Watch watch_;
  telemetry::Stages* const stages_;  // may be null
};

}  // namespace autoglm::model

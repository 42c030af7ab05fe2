// SPDX-License-Identifier: Apache-2.0
#include "model/transformer.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "model/scratch_size.h"

namespace autoglm::model {
namespace {

using kernels::Activations;
using kernels::KvLayer;
using kernels::LinearJob;
using kernels::SequenceRows;
using kernels::Tensor;
using telemetry::Stage;
using telemetry::StageTimer;

// Before reserve() there is no batch and no scratch.
constexpr std::size_t kUnreservedArenaBytes = 4096;

template <typename... Projections>
kernels::ActivationForms forms_of(const kernels::Ops& ops, const Projections&... projections) {
  kernels::ActivationForms forms;
  const auto add = [&](const Projection& projection) {
    const kernels::ActivationForms one = ops.forms(*projection.weights);
    forms.q8 |= one.q8;
    forms.bf16 |= one.bf16;
  };
  (add(projections), ...);
  return forms;
}

const float* or_null(const std::vector<float>& values) { return values.empty() ? nullptr : values.data(); }

// Where every layer stretches its positions, the checkpoint's own figure is that before the stretching.
std::size_t longest_context(const ModelConfig& config) {
  const double stretched = config.ropes.size() == 1 ? config.ropes.front().linear_factor : 1;
  return static_cast<std::size_t>(static_cast<double>(config.context_length) * std::max(stretched, 1.0));
}

}  // namespace

Transformer::Transformer(Checkpoint checkpoint, Description description, const LoadOptions& options)
    : checkpoint_(std::move(checkpoint)),
      config_(std::move(description.config)),
      kv_type_(kv_type_of(options)),
      pool_(options.threads),
      arena_(kUnreservedArenaBytes),
      ops_(kernels::make_ops(options.isa, options.compute, pool_, arena_)),
      stages_(options.stages) {}

Result<std::unique_ptr<Transformer>> Transformer::make(Checkpoint checkpoint, Description description,
                                                       const LoadOptions& options) {
  if (options.context_length != 0) {
    const std::size_t longest = longest_context(description.config);
    if (options.context_length > longest) {
      return fail(Code::kInvalidArgument,
                  "a context of " + std::to_string(options.context_length) + " tokens, but the model was made for " +
                      std::to_string(longest),
                  "context_length");
    }
    description.config.context_length = TRY(in_range(options.context_length, ranges::kContext));
  }
  const TensorNames* const names = description.names;
  std::unique_ptr<Transformer> model(new Transformer(std::move(checkpoint), std::move(description), options));
  model->weights_ = TRY(pack_weights(model->checkpoint_, Description{model->config_, names}, *model->ops_,
                                     {.type = options.weights_as, .progress = options.progress}));
  model->make_key_shifts();
  return model;
}

// The bias of keys makes a few of their channels tens of times larger than the others, in pairs that turn slowly: an
// int8 cache holds keys without what it amounts to on average. (docs/decisions/0012-int8-kv.md)
void Transformer::make_key_shifts() {
  constexpr std::size_t kPositions = 8192;  // of the average: whatever the context, so that bits do not depend on it
  key_shifts_.resize(config_.layers.size());
  if (kv_type_ != kernels::KvType::kInt8 || config_.attention_softcap > 0) return;
  for (std::size_t i = 0; i < config_.layers.size(); ++i) {
    const LayerWeights& layer = weights_.layers[i];
    if (layer.key.bias.empty() || !layer.key_norm.empty()) continue;
    key_shifts_[i] = layer.key.bias;
    for (std::size_t head = 0; head < config_.kv_heads; ++head) {
      kernels::mean_rotation(config_.ropes[config_.layers[i].rope], kPositions,
                             std::span(key_shifts_[i]).subspan(head * config_.head_dim, config_.head_dim));
    }
  }
}

void Transformer::reserve(std::size_t blocks, std::size_t max_rows, std::size_t max_logit_rows) {
  CHECK(max_rows_ == 0) << "reserve() is called once";
  CHECK(blocks > 0 && max_rows > 0 && max_logit_rows > 0);
  max_rows_ = max_rows;
  max_logit_rows_ = max_logit_rows;
  logit_sequences_.reserve(max_logit_rows);
  kv_ = KvCache(config_, kv_type_, blocks);
  arena_ = kernels::Arena(arena_bytes(max_rows, max_logit_rows));
  // No sequence can be longer than the blocks that are there.
  const std::size_t positions = std::min(config_.context_length, blocks * KvLayer::kBlockTokens);
  for (kernels::RopeDescription rope : config_.ropes) {
    rope.positions = positions;
    ropes_.emplace_back(kernels::short_rope(rope));
    if (!rope.long_divisors.empty()) long_ropes_.emplace_back(kernels::long_rope(rope));
  }
}

std::size_t Transformer::arena_bytes(std::size_t rows, std::size_t logit_rows) const {
  const std::size_t hidden = config_.hidden;
  const std::size_t query = config_.query_width();
  const std::size_t attention = taken_prepared(rows, hidden) + 2 * taken_f32(rows, query) +
                                2 * taken_f32(rows, config_.kv_width()) + taken_prepared(rows, query) +
                                taken_f32(rows, hidden) + taken_f32(logit_rows, query);
  const std::size_t mlp = taken_prepared(rows, hidden) + 2 * taken_f32(rows, config_.feed_forward) +
                          taken_prepared(rows, config_.feed_forward) + taken_f32(rows, hidden);
  const std::size_t head = taken_prepared(logit_rows, hidden) + taken_f32(logit_rows, config_.vocab);
  return taken_f32(rows, hidden) + taken_f32(logit_rows, hidden) + std::max({attention, mlp, head});
}

void Transformer::check_batch(const Batch& batch) const {
  CHECK(batch.tokens.size() <= max_rows_) << batch.tokens.size() << " rows; reserved for " << max_rows_;
  CHECK(batch.logit_rows.size() <= max_logit_rows_) << batch.logit_rows.size() << " rows with logits";
  for (const TokenId token : batch.tokens) {
    CHECK(token >= 0 && static_cast<std::size_t>(token) < config_.vocab) << "token " << token;
  }
  for (std::size_t i = 0; i < batch.logit_rows.size(); ++i) {
    const std::uint32_t row = batch.logit_rows[i];
    CHECK(row < batch.tokens.size() && (i == 0 || row > batch.logit_rows[i - 1])) << "row " << row;
  }
  std::size_t next_row = 0;
  for (const SequenceRows& sequence : batch.sequences) {
    CHECK(sequence.first_row == next_row && sequence.rows > 0) << "sequences must cover the rows in order";
    next_row += sequence.rows;
    const std::size_t end = sequence.first_position + sequence.rows;
    const kernels::Rope& rope = sequence.is_long && !long_ropes_.empty() ? long_ropes_.front() : ropes_.front();
    CHECK(end <= rope.table().positions) << "position " << end - 1 << " is beyond the context";
    for (std::size_t i = 0; i * KvLayer::kBlockTokens < end; ++i) {
      CHECK(sequence.block_table[i] < kv_.blocks()) << "block " << sequence.block_table[i] << " of " << kv_.blocks();
    }
  }
  CHECK(next_row == batch.tokens.size()) << "sequences cover " << next_row << " of " << batch.tokens.size() << " rows";
}

Logits Transformer::forward(const Batch& batch) {
  check_batch(batch);
  arena_.reset();
  const Tensor hidden = arena_.take_f32(batch.tokens.size(), config_.hidden);
  StageTimer time(stages_, Stage::kEmbed);
  ops_->embed(weights_.embedding, batch.tokens, static_cast<float>(config_.embedding_scale), hidden);
  time.stop();
  if (watch_) watch_(0, hidden);
  for (std::size_t i = 0; i + 1 < config_.layers.size(); ++i) {
    run_layer(i, hidden, batch.sequences);
    if (watch_) watch_(i + 1, hidden);
  }
  return head(run_last_layer(hidden, batch));
}

void Transformer::run_layer(std::size_t index, const Tensor& hidden, std::span<const SequenceRows> sequences) {
  const std::size_t mark = arena_.mark();
  attend(index, store_keys(index, hidden, sequences), hidden, sequences);
  arena_.reset(mark);
  feed_forward(index, hidden);
  arena_.reset(mark);
}

// Of what follows its keys and values nobody reads the rows without logits. Returns the others.
Tensor Transformer::run_last_layer(const Tensor& hidden, const Batch& batch) {
  const std::size_t last = config_.layers.size() - 1;
  if (watch_ || batch.logit_rows.size() == batch.tokens.size()) {
    run_layer(last, hidden, batch.sequences);
    if (watch_) watch_(last + 1, hidden);
    return batch.logit_rows.size() == hidden.rows ? hidden : pick(hidden, batch.logit_rows);
  }
  const Tensor wanted = pick(hidden, batch.logit_rows);
  const std::size_t mark = arena_.mark();
  const Tensor query = store_keys(last, hidden, batch.sequences);
  if (wanted.rows > 0) {
    attend(last, pick(query, batch.logit_rows), wanted, logit_sequences(batch));
    arena_.reset(mark);
    feed_forward(last, wanted);
  }
  arena_.reset(mark);
  return wanted;
}

Tensor Transformer::pick(const Tensor& from, std::span<const std::uint32_t> rows) {
  const Tensor picked = arena_.take_f32(rows.size(), from.columns);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::memcpy(picked.f32(i), from.f32(rows[i]), from.columns * sizeof(float));
  }
  return picked;
}

// The rows with logits as a batch of their own: those that follow each other in a sequence stay together.
std::span<const SequenceRows> Transformer::logit_sequences(const Batch& batch) {
  logit_sequences_.clear();
  const SequenceRows* sequence = batch.sequences.data();
  for (std::size_t i = 0; i < batch.logit_rows.size(); ++i) {
    const std::size_t row = batch.logit_rows[i];
    bool follows = i > 0 && batch.logit_rows[i - 1] + 1 == row;
    while (row >= sequence->first_row + sequence->rows) {
      ++sequence;
      follows = false;
    }
    if (follows) {
      ++logit_sequences_.back().rows;
      continue;
    }
    logit_sequences_.push_back({.first_row = i,
                                .rows = 1,
                                .first_position = sequence->first_position + row - sequence->first_row,
                                .block_table = sequence->block_table});
  }
  return logit_sequences_;
}

// Projects queries, keys and values of all rows, and writes keys and values to the cache. Returns the rotated queries.
Tensor Transformer::store_keys(std::size_t index, const Tensor& hidden, std::span<const SequenceRows> sequences) {
  const LayerWeights& layer = weights_.layers[index];
  const std::size_t rows = hidden.rows;
  const auto eps = static_cast<float>(config_.norm_eps);
  const Tensor query = arena_.take_f32(rows, config_.query_width());
  const Tensor key = arena_.take_f32(rows, config_.kv_width());
  const Tensor value = arena_.take_f32(rows, config_.kv_width());
  StageTimer time(stages_, Stage::kNorm);
  const Activations normed = ops_->rms_norm_prepare(hidden, layer.attention_norm.data(), eps,
                                                    forms_of(*ops_, layer.query, layer.key, layer.value));
  const LinearJob jobs[] = {layer.query.job(query), layer.key.job(key), layer.value.job(value)};
  time.next(Stage::kQkv);
  ops_->linear(normed, jobs);
  time.next(Stage::kRotateStore);
  ops_->rotate_store({.query = query,
                      .key = key,
                      .value = value,
                      .heads = config_.heads,
                      .query_norm = or_null(layer.query_norm),
                      .key_norm = or_null(layer.key_norm),
                      .norm_eps = eps,
                      .rope = &ropes_[config_.layers[index].rope].table(),
                      .long_rope = long_rope(config_.layers[index].rope),
                      .key_shift = or_null(key_shifts_[index]),
                      .kv = kv_.layer(index),
                      .sequences = sequences});
  return query;
}

// Adds what the rows of `query` find in the cache to the same rows of `hidden`.
void Transformer::attend(std::size_t index, const Tensor& query, const Tensor& hidden,
                         std::span<const SequenceRows> sequences) {
  const LayerWeights& layer = weights_.layers[index];
  const Tensor mixed = arena_.take_f32(query.rows, config_.query_width());
  StageTimer time(stages_, Stage::kAttention);
  ops_->attention({.query = query,
                   .out = mixed,
                   .heads = config_.heads,
                   .kv = kv_.layer(index),
                   .scale = static_cast<float>(config_.attention_scale),
                   .softcap = static_cast<float>(config_.attention_softcap),
                   .window = config_.layers[index].window,
                   .sequences = sequences});
  time.next(Stage::kNorm);
  const Activations prepared = ops_->prepare(mixed, forms_of(*ops_, layer.output));
  time.next(Stage::kAttentionOutput);
  add_projected(hidden, prepared, layer.output, layer.post_attention_norm, time);
}

void Transformer::feed_forward(std::size_t index, const Tensor& hidden) {
  const LayerWeights& layer = weights_.layers[index];
  const Tensor gate = arena_.take_f32(hidden.rows, config_.feed_forward);
  const Tensor up = arena_.take_f32(hidden.rows, config_.feed_forward);
  StageTimer time(stages_, Stage::kNorm);
  const Activations normed = ops_->rms_norm_prepare(hidden, layer.mlp_norm.data(), static_cast<float>(config_.norm_eps),
                                                    forms_of(*ops_, layer.gate, layer.up));
  const LinearJob jobs[] = {layer.gate.job(gate), layer.up.job(up)};
  time.next(Stage::kFfnGateUp);
  ops_->linear(normed, jobs);
  time.next(Stage::kFfnActivation);
  const Activations gated = ops_->gated_prepare(gate, up, config_.activation, forms_of(*ops_, layer.down));
  time.next(Stage::kFfnDown);
  add_projected(hidden, gated, layer.down, layer.post_mlp_norm, time);
}

void Transformer::add_projected(const Tensor& hidden, const Activations& in, const Projection& projection,
                                const std::vector<float>& post_norm, StageTimer& time) {
  if (post_norm.empty()) {
    const LinearJob job = projection.job(hidden, true);
    ops_->linear(in, {&job, 1});
    return;
  }
  const Tensor projected = arena_.take_f32(hidden.rows, hidden.columns);
  const LinearJob job = projection.job(projected);
  ops_->linear(in, {&job, 1});
  time.next(Stage::kNorm);
  ops_->add_norm(hidden, projected, post_norm.data(), static_cast<float>(config_.norm_eps));
}

Logits Transformer::head(const Tensor& wanted) {
  if (wanted.rows == 0) return {.rows = 0, .vocab = config_.vocab, .data = nullptr};
  StageTimer time(stages_, Stage::kNorm);
  const Activations normed = ops_->rms_norm_prepare(
      wanted, weights_.final_norm.data(), static_cast<float>(config_.norm_eps), forms_of(*ops_, weights_.head));
  const Tensor logits = arena_.take_f32(wanted.rows, config_.vocab);
  const LinearJob job = weights_.head.job(logits);
  time.next(Stage::kHead);
  ops_->linear(normed, {&job, 1});
  if (config_.logit_softcap > 0) ops_->softcap(logits, static_cast<float>(config_.logit_softcap));
  return {.rows = wanted.rows, .vocab = config_.vocab, .data = logits.f32(0)};
}

StageWork Transformer::work(Stage stage) const {
  StageWork work;
  const auto add = [&](const Projection& projection) {
    const kernels::PackedLinear& weights = *projection.weights;
    work.macs_per_row += static_cast<double>(weights.out_features()) * static_cast<double>(weights.in_features());
    work.weight_bytes += static_cast<double>(weights.bytes());
  };
  if (stage == Stage::kHead) add(weights_.head);
  for (const LayerWeights& layer : weights_.layers) {
    if (stage == Stage::kQkv) {
      add(layer.query);
      add(layer.key);
      add(layer.value);
    }
    if (stage == Stage::kAttentionOutput) add(layer.output);
    if (stage == Stage::kFfnGateUp) {
      add(layer.gate);
      add(layer.up);
    }
    if (stage == Stage::kFfnDown) add(layer.down);
  }
  return work;
}

}  // namespace autoglm::model

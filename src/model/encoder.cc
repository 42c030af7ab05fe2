// SPDX-License-Identifier: Apache-2.0
#include "model/encoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <utility>

#include "base/check.h"
#include "model/scratch.h"

namespace autoglm::model {
namespace {

using kernels::ActivationForms;
using kernels::Activations;
using kernels::KvLayer;
using kernels::LinearJob;
using kernels::SequenceRows;
using kernels::Tensor;
using telemetry::Stage;
using telemetry::StageTimer;

// Of the norm that a vector is divided by: what torch.nn.functional.normalize has.
constexpr double kLeastNorm = 1e-12;

// No head turns: a table of no dimensions.
constexpr kernels::RopeTable kNoRope{.positions = std::numeric_limits<std::size_t>::max()};

std::size_t blocks_of(std::size_t tokens) { return (tokens + KvLayer::kBlockTokens - 1) / KvLayer::kBlockTokens; }

// In double, token by token: sums of many tokens keep their digits, and the order does not depend on the batch.
void pool_mean(const Tensor& hidden, const SequenceRows& text, double* sums, float* out) {
  const std::size_t width = hidden.columns;
  std::fill_n(sums, width, 0.0);
  for (std::size_t row = text.first_row; row < text.first_row + text.rows; ++row) {
    const float* const x = hidden.f32(row);
    for (std::size_t i = 0; i < width; ++i) sums[i] += static_cast<double>(x[i]);
  }
  for (std::size_t i = 0; i < width; ++i) out[i] = static_cast<float>(sums[i] / static_cast<double>(text.rows));
}

void normalise(float* x, std::size_t width) {
  double squares = 0;
  for (std::size_t i = 0; i < width; ++i) squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const double norm = std::max(std::sqrt(squares), kLeastNorm);
  for (std::size_t i = 0; i < width; ++i) x[i] = static_cast<float>(static_cast<double>(x[i]) / norm);
}

}  // namespace

Encoder::Encoder(Checkpoint checkpoint, const EncoderConfig& config, const SentenceSettings& settings,
                 const LoadOptions& options)
    : checkpoint_(std::move(checkpoint)),
      config_(config),
      settings_(settings),
      pool_(options.threads),
      arena_(4096),  // before reserve() there is no batch and no scratch
      ops_(kernels::make_ops(options.isa, options.compute, pool_, arena_)),
      stages_(options.stages) {}

Result<std::unique_ptr<Encoder>> Encoder::make(Checkpoint checkpoint, const EncoderDescription& description,
                                               const SentenceSettings& settings, const LoadOptions& options) {
  std::unique_ptr<Encoder> encoder(new Encoder(std::move(checkpoint), description.config, settings, options));
  encoder->weights_ =
      TRY(pack_encoder(encoder->checkpoint_, description, *encoder->ops_, {.progress = options.progress}));
  return encoder;
}

void Encoder::reserve(std::size_t max_rows, std::size_t max_texts) {
  CHECK(max_rows_ == 0) << "reserve() is called once";
  CHECK(max_rows >= max_texts && max_texts > 0);
  max_rows_ = max_rows;
  max_texts_ = max_texts;
  sequences_.reserve(max_texts);
  // Each text fills all of its blocks but the last.
  const std::size_t blocks = max_rows / KvLayer::kBlockTokens + max_texts;
  kv_ = {.type = kernels::KvType::kF32, .kv_heads = config_.heads, .head_dim = config_.head_dim()};
  const std::size_t bytes = blocks * kv_.block_stride();
  kv_memory_ = kernels::Buffer(2 * bytes);
  kv_.keys = kv_memory_.data();
  kv_.values = kv_memory_.data() + bytes;
  blocks_.resize(blocks);
  for (std::size_t i = 0; i < blocks; ++i) blocks_[i] = static_cast<std::uint32_t>(i);
  arena_ = kernels::Arena(arena_bytes(max_rows, max_texts));
}

std::size_t Encoder::arena_bytes(std::size_t rows, std::size_t texts) const {
  const std::size_t hidden = config_.hidden;
  const std::size_t attention = 4 * taken_f32(rows, hidden) + taken_prepared(rows, hidden);
  const std::size_t mlp = taken_f32(rows, config_.feed_forward) + taken_prepared(rows, config_.feed_forward);
  // A layer's input, and what its halves take one after the other.
  const std::size_t layer = taken_prepared(rows, hidden) + std::max(attention, mlp);
  const auto threads = static_cast<std::size_t>(pool_.threads());
  const std::size_t score = 2 * taken_f32(texts, hidden) + taken_prepared(texts, hidden) + taken_f32(texts, 1);
  return taken_f32(rows, hidden) + layer +
         std::max(taken_f32(texts, hidden) + taken(threads * hidden * sizeof(double)), score);
}

// Checks the batch and gives each text its rows and blocks.
void Encoder::begin(const TextBatch& batch) {
  CHECK(batch.tokens.size() <= max_rows_ && batch.lengths.size() <= max_texts_)
      << batch.lengths.size() << " texts of " << batch.tokens.size() << " tokens; reserved for " << max_texts_ << " of "
      << max_rows_;
  for (const TokenId token : batch.tokens) {
    CHECK(token >= 0 && static_cast<std::size_t>(token) < config_.vocab) << "token " << token;
  }
  sequences_.clear();
  std::size_t row = 0;
  std::size_t block = 0;
  for (const std::size_t length : batch.lengths) {
    CHECK(length > 0 && length <= max_tokens()) << "a text of " << length << " tokens";
    sequences_.push_back({.first_row = row, .rows = length, .block_table = blocks_.data() + block});
    row += length;
    block += blocks_of(length);
  }
  CHECK(row == batch.tokens.size()) << "texts cover " << row << " of " << batch.tokens.size() << " rows";
  CHECK(batch.second_begins.empty() || batch.second_begins.size() == batch.lengths.size());
}

Vectors Encoder::forward(const TextBatch& batch) {
  begin(batch);
  arena_.reset();
  const Tensor hidden = arena_.take_f32(batch.tokens.size(), config_.hidden);
  const std::size_t mark = arena_.mark();
  Activations in = embed(batch, hidden);
  for (std::size_t i = 0; i < config_.layers; ++i) in = run_layer(i, hidden, in, mark);
  arena_.reset(mark);
  return config_.has_score ? score_texts(hidden) : pool_vectors(hidden);
}

// The forms in which a layer reads the hidden state; behind the last one nobody does.
ActivationForms Encoder::input_forms(std::size_t index) const {
  ActivationForms forms;
  if (index == config_.layers) return forms;
  const EncoderLayer& layer = weights_.layers[index];
  for (const Projection* projection : {&layer.query, &layer.key, &layer.value}) {
    const ActivationForms one = ops_->forms(*projection->weights);
    forms.q8 |= one.q8;
    forms.bf16 |= one.bf16;
  }
  return forms;
}

Activations Encoder::embed(const TextBatch& batch, const Tensor& hidden) {
  StageTimer time(stages_, Stage::kEmbed);
  ops_->embed(weights_.words, batch.tokens, 1.0f, hidden);
  const std::size_t width = config_.hidden;
  const std::size_t mark = arena_.mark();
  const Tensor places = arena_.take_f32(hidden.rows, width);
  add_places(batch, places);
  ops_->add_norm(hidden, places, nullptr, 0);
  arena_.reset(mark);
  time.next(Stage::kNorm);
  const LayerNorm& norm = weights_.embedding_norm;
  return ops_->layer_norm_prepare(hidden, norm.weight.data(), norm.bias.data(), static_cast<float>(config_.norm_eps),
                                  input_forms(0));
}

// What a token has by its place alone: its position's vector, and its type's.
void Encoder::add_places(const TextBatch& batch, const Tensor& places) const {
  const std::size_t width = config_.hidden;
  for (std::size_t i = 0; i < sequences_.size(); ++i) {
    const SequenceRows& text = sequences_[i];
    std::memcpy(places.f32(text.first_row), weights_.positions.data() + config_.first_position * width,
                text.rows * width * sizeof(float));
    if (batch.second_begins.empty() || weights_.second_type.empty()) continue;
    for (std::size_t row = batch.second_begins[i]; row < text.rows; ++row) {
      float* const place = places.f32(text.first_row + row);
      for (std::size_t d = 0; d < width; ++d) place[d] += weights_.second_type[d];
    }
  }
}

// `in` is `hidden` prepared, which lies in the arena from `mark` on; gives back the same for the next layer, in the
// same place.
Activations Encoder::run_layer(std::size_t index, const Tensor& hidden, const Activations& in, std::size_t mark) {
  const EncoderLayer& layer = weights_.layers[index];
  const auto eps = static_cast<float>(config_.norm_eps);
  const Tensor mixed = attend(layer, in);
  StageTimer time(stages_, Stage::kNorm);
  const Activations prepared = ops_->prepare(mixed, ops_->forms(*layer.output.weights));
  time.next(Stage::kAttentionOutput);
  const LinearJob output = layer.output.job(hidden, true);
  ops_->linear(prepared, {&output, 1});
  time.next(Stage::kNorm);
  arena_.reset(mark);
  const Activations normed =
      ops_->layer_norm_prepare(hidden, layer.attention_norm.weight.data(), layer.attention_norm.bias.data(), eps,
                               ops_->forms(*layer.up.weights));
  const Tensor up = arena_.take_f32(hidden.rows, config_.feed_forward);
  time.next(Stage::kFfnGateUp);
  const LinearJob up_job = layer.up.job(up);
  ops_->linear(normed, {&up_job, 1});
  time.next(Stage::kFfnActivation);
  const Activations active = ops_->gelu_prepare(up, ops_->forms(*layer.down.weights));
  time.next(Stage::kFfnDown);
  const LinearJob down = layer.down.job(hidden, true);
  ops_->linear(active, {&down, 1});
  time.next(Stage::kNorm);
  arena_.reset(mark);
  return ops_->layer_norm_prepare(hidden, layer.mlp_norm.weight.data(), layer.mlp_norm.bias.data(), eps,
                                  input_forms(index + 1));
}

Tensor Encoder::attend(const EncoderLayer& layer, const Activations& in) {
  const std::size_t hidden = config_.hidden;
  const Tensor query = arena_.take_f32(in.rows, hidden);
  const Tensor key = arena_.take_f32(in.rows, hidden);
  const Tensor value = arena_.take_f32(in.rows, hidden);
  const Tensor mixed = arena_.take_f32(in.rows, hidden);
  StageTimer time(stages_, Stage::kQkv);
  const LinearJob jobs[] = {layer.query.job(query), layer.key.job(key), layer.value.job(value)};
  ops_->linear(in, jobs);
  time.next(Stage::kRotateStore);
  ops_->rotate_store({.query = query,
                      .key = key,
                      .value = value,
                      .heads = config_.heads,
                      .rope = &kNoRope,
                      .kv = kv_,
                      .sequences = sequences_});
  time.next(Stage::kAttention);
  ops_->attention({.query = query,
                   .out = mixed,
                   .heads = config_.heads,
                   .kv = kv_,
                   .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(config_.head_dim()))),
                   .is_causal = false,
                   .sequences = sequences_});
  return mixed;
}

Vectors Encoder::pool_vectors(const Tensor& hidden) {
  const std::size_t width = config_.hidden;
  const Tensor out = arena_.take_f32(sequences_.size(), width);
  auto* const sums = arena_.take_array<double>(static_cast<std::size_t>(pool_.threads()) * width);
  pool_.run(sequences_.size(), [&](std::size_t text, int worker) {
    if (settings_.pooling == Pooling::kMean) {
      pool_mean(hidden, sequences_[text], sums + static_cast<std::size_t>(worker) * width, out.f32(text));
    } else {
      std::memcpy(out.f32(text), hidden.f32(sequences_[text].first_row), width * sizeof(float));
    }
    if (settings_.is_normalised) normalise(out.f32(text), width);
  });
  return {.rows = out.rows, .width = width, .data = out.rows == 0 ? nullptr : out.f32(0)};
}

// Of the first token of each text: a dense layer, tanh, and one output. Source: transformers, modeling_bert.py
// (BertPooler, BertForSequenceClassification) and modeling_xlm_roberta.py (XLMRobertaClassificationHead).
Vectors Encoder::score_texts(const Tensor& hidden) {
  const std::size_t width = config_.hidden;
  const Tensor scores = arena_.take_f32(sequences_.size(), 1);
  const Tensor first = arena_.take_f32(sequences_.size(), width);
  for (std::size_t i = 0; i < sequences_.size(); ++i) {
    std::memcpy(first.f32(i), hidden.f32(sequences_[i].first_row), width * sizeof(float));
  }
  const Tensor dense = arena_.take_f32(sequences_.size(), width);
  const LinearJob job = weights_.score_dense.job(dense);
  ops_->linear(ops_->prepare(first, ops_->forms(*weights_.score_dense.weights)), {&job, 1});
  for (std::size_t i = 0; i < sequences_.size(); ++i) {
    double score = static_cast<double>(weights_.score_bias);
    for (std::size_t d = 0; d < width; ++d) {
      score += std::tanh(static_cast<double>(dense.f32(i)[d])) * static_cast<double>(weights_.score_out[d]);
    }
    scores.f32(i)[0] = static_cast<float>(config_.is_score_raw ? score : 1 / (1 + std::exp(-score)));
  }
  return {.rows = scores.rows, .width = 1, .data = scores.rows == 0 ? nullptr : scores.f32(0)};
}

}  // namespace autoglm::model

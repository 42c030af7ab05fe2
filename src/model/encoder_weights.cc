// SPDX-License-Identifier: Apache-2.0
#include "model/encoder_weights.h"

#include <algorithm>
#include <string>
#include <utility>

#include "model/families/tensor_names.h"
#include "model/tensor_reader.h"

namespace autoglm::model {
namespace {

// What a checkpoint of an encoder may have that makes no vectors of tokens.
constexpr std::string_view kLeftOut[] = {"pooler.", "embeddings.position_ids", "cls.", "lm_head."};

struct StoredLayer {
  StoredProjection query, key, value, output, up, down;
  LayerNorm attention_norm, mlp_norm;
};

struct StoredEncoder {
  const StoredTensor* words = nullptr;
  std::vector<float> positions;
  std::vector<float> second_type;
  LayerNorm embedding_norm;
  std::vector<StoredLayer> layers;
  StoredProjection score_dense;
  std::vector<float> score_out;
  float score_bias = 0;
};

class EncoderReader final {
 public:
  EncoderReader(const Checkpoint& checkpoint, const EncoderDescription& description)
      : reader_(checkpoint), config_(description.config), names_(*description.names), score_(description.score) {
    const std::string prefix(description.prefix);
    if (reader_.has(prefix + std::string(names_.words) + ".weight")) prefix_ = prefix;
  }

  Result<StoredEncoder> read() {
    StoredEncoder stored;
    stored.words = TRY(reader_.tensor(weight(names_.words), {config_.vocab, config_.hidden}));
    TRY(read_positions(stored));
    stored.embedding_norm = TRY(norm(names_.embedding_norm, 0));
    for (std::size_t i = 0; i < config_.layers; ++i) stored.layers.push_back(TRY(layer(i)));
    if (config_.has_score) TRY(read_score(stored));
    TRY(reader_.refuse_the_rest(config_.architecture + " encoder",
                                [this](const StoredTensor& tensor) { return leaves_out(tensor.name); }));
    return stored;
  }

 private:
  std::string weight(std::string_view name) const { return prefix_ + std::string(name) + ".weight"; }

  Result<LayerNorm> norm(std::string_view name, std::size_t layer) {
    const std::string full = prefix_ + layer_name(name, layer);
    return LayerNorm{.weight = TRY(reader_.vector(full + ".weight", config_.hidden)),
                     .bias = TRY(reader_.vector(full + ".bias", config_.hidden))};
  }

  Result<StoredProjection> linear(std::string_view name, std::size_t layer, std::size_t rows, std::size_t columns) {
    return reader_.projection(prefix_ + layer_name(name, layer), rows, columns, true);
  }

  // A text has the first type. Where there is a second one, what sets it apart is kept.
  Status read_positions(StoredEncoder& stored) {
    const std::size_t hidden = config_.hidden;
    stored.positions = TRY(reader_.values(weight(names_.positions), {config_.positions, hidden}));
    if (config_.token_types == 0) return {};
    const std::vector<float> types = TRY(reader_.values(weight(names_.token_types), {config_.token_types, hidden}));
    for (std::size_t i = 0; i < stored.positions.size(); ++i) stored.positions[i] += types[i % hidden];
    if (config_.token_types == 1) return {};
    for (std::size_t i = 0; i < hidden; ++i) stored.second_type.push_back(types[hidden + i] - types[i]);
    return {};
  }

  Status read_score(StoredEncoder& stored) {
    const std::size_t hidden = config_.hidden;
    const std::string out(score_.out);
    stored.score_dense = TRY(reader_.projection(std::string(score_.dense), hidden, hidden, true));
    stored.score_out = TRY(reader_.values(out + ".weight", {1, hidden}));
    stored.score_bias = TRY(reader_.vector(out + ".bias", 1)).front();
    return {};
  }

  Result<StoredLayer> layer(std::size_t index) {
    const std::size_t hidden = config_.hidden;
    StoredLayer layer;
    layer.query = TRY(linear(names_.query, index, hidden, hidden));
    layer.key = TRY(linear(names_.key, index, hidden, hidden));
    layer.value = TRY(linear(names_.value, index, hidden, hidden));
    layer.output = TRY(linear(names_.output, index, hidden, hidden));
    layer.attention_norm = TRY(norm(names_.attention_norm, index));
    layer.up = TRY(linear(names_.up, index, config_.feed_forward, hidden));
    layer.down = TRY(linear(names_.down, index, hidden, config_.feed_forward));
    layer.mlp_norm = TRY(norm(names_.mlp_norm, index));
    return layer;
  }

  bool leaves_out(std::string_view name) const {
    if (name.starts_with(prefix_)) name.remove_prefix(prefix_.size());
    return std::ranges::any_of(kLeftOut, [name](std::string_view part) { return name.starts_with(part); });
  }

  TensorReader reader_;
  const EncoderConfig& config_;
  const EncoderNames& names_;
  const ScoreNames score_;
  std::string prefix_;
};

std::vector<StoredProjection*> projections_of(StoredEncoder& stored) {
  std::vector<StoredProjection*> all;
  for (StoredLayer& layer : stored.layers) {
    all.insert(all.end(), {&layer.query, &layer.key, &layer.value, &layer.output, &layer.up, &layer.down});
  }
  if (stored.score_dense.tensor != nullptr) all.push_back(&stored.score_dense);
  return all;
}

}  // namespace

Result<std::vector<const StoredTensor*>> list_encoder_projections(const Checkpoint& checkpoint,
                                                                  const EncoderDescription& description) {
  StoredEncoder stored = TRY(EncoderReader(checkpoint, description).read());
  std::vector<const StoredTensor*> tensors;
  for (const StoredProjection* projection : projections_of(stored)) tensors.push_back(projection->tensor);
  return tensors;
}

Result<EncoderWeights> pack_encoder(const Checkpoint& checkpoint, const EncoderDescription& description,
                                    kernels::Ops& ops, const PackOptions& options) {
  StoredEncoder stored = TRY(EncoderReader(checkpoint, description).read());
  std::size_t total_bytes = 0;
  for (const StoredProjection* projection : projections_of(stored)) total_bytes += projection->bytes().size();
  ProjectionPacker packer(checkpoint, ops, options.type, total_bytes, options.progress);
  EncoderWeights weights;
  for (StoredLayer& from : stored.layers) {
    EncoderLayer layer;
    layer.query = packer.pack(std::move(from.query));
    layer.key = packer.pack(std::move(from.key));
    layer.value = packer.pack(std::move(from.value));
    layer.output = packer.pack(std::move(from.output));
    layer.attention_norm = std::move(from.attention_norm);
    layer.up = packer.pack(std::move(from.up));
    layer.down = packer.pack(std::move(from.down));
    layer.mlp_norm = std::move(from.mlp_norm);
    weights.layers.push_back(std::move(layer));
  }
  weights.score_dense = packer.pack(std::move(stored.score_dense));
  weights.score_out = std::move(stored.score_out);
  weights.score_bias = stored.score_bias;
  weights.positions = std::move(stored.positions);
  weights.second_type = std::move(stored.second_type);
  weights.embedding_norm = std::move(stored.embedding_norm);
  weights.words = ready_matrix(*stored.words, weights.words_copy);
  weights.bytes = packer.packed_bytes();
  return weights;
}

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
#include "model/encoder_weights.h"

#include <cstring>
#include <string>
#include <unordered_set>
#include <utility>

#include "base/log.h"
#include "kernels/quantize.h"

namespace autoglm::model {
namespace {

using kernels::DType;
using kernels::Tensor;

// What a checkpoint of an encoder may have that makes no vectors of tokens.
constexpr std::string_view kLeftOut[] = {"pooler.", "embeddings.position_ids", "cls.", "lm_head."};

// A projection that was found and checked, and is not packed yet.
struct StoredLinear {
  const StoredTensor* tensor = nullptr;
  std::vector<float> bias;
};

struct StoredLayer {
  StoredLinear query, key, value, output, up, down;
  LayerNorm attention_norm, mlp_norm;
};

struct StoredEncoder {
  const StoredTensor* words = nullptr;
  std::vector<float> positions;
  LayerNorm embedding_norm;
  std::vector<StoredLayer> layers;
};

class EncoderReader final {
 public:
  EncoderReader(const Checkpoint& checkpoint, const EncoderConfig& config, std::string_view prefix)
      : checkpoint_(checkpoint), config_(config) {
    const std::string words = std::string(prefix) + "embeddings.word_embeddings.weight";
    if (checkpoint.find(words) != nullptr) prefix_ = prefix;
  }

  Result<StoredEncoder> read() {
    StoredEncoder stored;
    stored.words = TRY(matrix("embeddings.word_embeddings.weight", config_.vocab, config_.hidden));
    stored.positions = TRY(positions());
    stored.embedding_norm = TRY(norm("embeddings.LayerNorm"));
    for (std::size_t i = 0; i < config_.layers; ++i) stored.layers.push_back(TRY(layer(i)));
    TRY(refuse_the_rest());
    return stored;
  }

 private:
  Result<const StoredTensor*> find(std::string_view name) {
    const std::string full = prefix_ + std::string(name);
    const StoredTensor* const stored = checkpoint_.find(full);
    if (stored == nullptr) return fail(Code::kCorrupt, "the checkpoint has no tensor \"" + full + "\"");
    if (!stored->type) {
      return fail(Code::kInvalidArgument,
                  "tensor \"" + full + "\" has the element type " + stored->type_text() + ", which is not supported");
    }
    used_.insert(stored->name);
    return stored;
  }

  Result<const StoredTensor*> shaped(std::string_view name, std::uint32_t rank, std::size_t rows, std::size_t columns) {
    const StoredTensor* const stored = TRY(find(name));
    const bool fits = stored->rank == rank && stored->shape[0] == rows && (rank == 1 || stored->shape[1] == columns);
    if (fits) return stored;
    return fail(Code::kCorrupt, "tensor \"" + base::printable(stored->name) + "\" is " + stored->shape_text() +
                                    "; expected [" + std::to_string(rows) +
                                    (rank == 1 ? "]" : ", " + std::to_string(columns) + "]"));
  }

  Result<const StoredTensor*> matrix(std::string_view name, std::size_t rows, std::size_t columns) {
    return shaped(name, 2, rows, columns);
  }

  std::vector<float> values(const StoredTensor& stored) const {
    std::vector<std::byte> aligned(stored.bytes.begin(), stored.bytes.end());
    std::vector<float> values(stored.elements());
    kernels::dequantize(*stored.type, aligned.data(), values.data(), values.size());
    checkpoint_.let_go(stored);
    return values;
  }

  Result<std::vector<float>> vector(const std::string& name, std::size_t size) {
    return values(*TRY(shaped(name, 1, size, 0)));
  }

  Result<LayerNorm> norm(const std::string& name) {
    return LayerNorm{.weight = TRY(vector(name + ".weight", config_.hidden)),
                     .bias = TRY(vector(name + ".bias", config_.hidden))};
  }

  Result<StoredLinear> linear(const std::string& name, std::size_t rows, std::size_t columns) {
    return StoredLinear{.tensor = TRY(matrix(name + ".weight", rows, columns)),
                        .bias = TRY(vector(name + ".bias", rows))};
  }

  Result<std::vector<float>> positions() {
    const std::size_t hidden = config_.hidden;
    std::vector<float> table = values(*TRY(matrix("embeddings.position_embeddings.weight", config_.positions, hidden)));
    if (config_.token_types == 0) return table;
    const std::vector<float> types =
        values(*TRY(matrix("embeddings.token_type_embeddings.weight", config_.token_types, hidden)));
    for (std::size_t i = 0; i < table.size(); ++i) table[i] += types[i % hidden];
    return table;
  }

  Result<StoredLayer> layer(std::size_t index) {
    const std::string name = "encoder.layer." + std::to_string(index) + ".";
    const std::size_t hidden = config_.hidden;
    StoredLayer layer;
    layer.query = TRY(linear(name + "attention.self.query", hidden, hidden));
    layer.key = TRY(linear(name + "attention.self.key", hidden, hidden));
    layer.value = TRY(linear(name + "attention.self.value", hidden, hidden));
    layer.output = TRY(linear(name + "attention.output.dense", hidden, hidden));
    layer.attention_norm = TRY(norm(name + "attention.output.LayerNorm"));
    layer.up = TRY(linear(name + "intermediate.dense", config_.feed_forward, hidden));
    layer.down = TRY(linear(name + "output.dense", hidden, config_.feed_forward));
    layer.mlp_norm = TRY(norm(name + "output.LayerNorm"));
    return layer;
  }

  // A tensor that nobody asked for is a part of the model that we would silently leave out.
  Status refuse_the_rest() const {
    for (const StoredTensor& stored : checkpoint_.tensors()) {
      std::string_view name = stored.name;
      if (used_.contains(name)) continue;
      if (name.starts_with(prefix_)) name.remove_prefix(prefix_.size());
      bool is_left_out = false;
      for (const std::string_view part : kLeftOut) is_left_out = is_left_out || name.starts_with(part);
      if (is_left_out) continue;
      return fail(Code::kInvalidArgument, "tensor \"" + base::printable(stored.name) + "\" is not a part of a " +
                                              config_.architecture + " encoder that we know how to run");
    }
    return {};
  }

  const Checkpoint& checkpoint_;
  const EncoderConfig& config_;
  std::string prefix_;
  std::unordered_set<std::string_view> used_;
};

std::vector<const StoredTensor*> projections_of_encoder(const StoredEncoder& stored) {
  std::vector<const StoredTensor*> all;
  for (const StoredLayer& layer : stored.layers) {
    for (const StoredLinear* linear : {&layer.query, &layer.key, &layer.value, &layer.output, &layer.up, &layer.down}) {
      all.push_back(linear->tensor);
    }
  }
  return all;
}

// A matrix where the kernels can read it: as the file holds it, or in `copy`.
Tensor readable(const StoredTensor& stored, kernels::Buffer& copy) {
  const std::byte* data = stored.bytes.data();
  if (reinterpret_cast<std::uintptr_t>(data) % alignof(float) != 0) {
    copy = kernels::Buffer(stored.bytes.size());
    std::memcpy(copy.data(), data, stored.bytes.size());
    data = copy.data();
  }
  return {*stored.type, stored.shape[0], stored.shape[1], kernels::row_bytes(*stored.type, stored.shape[1]),
          const_cast<std::byte*>(data)};
}

}  // namespace

Result<std::vector<const StoredTensor*>> list_encoder_projections(const Checkpoint& checkpoint,
                                                                  const EncoderConfig& config,
                                                                  std::string_view prefix) {
  return projections_of_encoder(TRY(EncoderReader(checkpoint, config, prefix).read()));
}

Result<EncoderWeights> pack_encoder(const Checkpoint& checkpoint, const EncoderConfig& config, std::string_view prefix,
                                    kernels::Ops& ops, const PackOptions& options) {
  StoredEncoder stored = TRY(EncoderReader(checkpoint, config, prefix).read());
  std::size_t total_bytes = 0;
  std::size_t done_bytes = 0;
  for (const StoredTensor* tensor : projections_of_encoder(stored)) total_bytes += tensor->bytes.size();
  EncoderWeights weights;
  const auto pack = [&](StoredLinear& from) {
    kernels::Buffer copy;
    Projection projection{.weights = ops.pack(readable(*from.tensor, copy)), .bias = std::move(from.bias)};
    checkpoint.let_go(*from.tensor);
    weights.bytes += projection.weights->bytes();
    done_bytes += from.tensor->bytes.size();
    if (options.progress) options.progress(done_bytes, total_bytes);
    return projection;
  };
  for (StoredLayer& from : stored.layers) {
    EncoderLayer layer;
    layer.query = pack(from.query);
    layer.key = pack(from.key);
    layer.value = pack(from.value);
    layer.output = pack(from.output);
    layer.attention_norm = std::move(from.attention_norm);
    layer.up = pack(from.up);
    layer.down = pack(from.down);
    layer.mlp_norm = std::move(from.mlp_norm);
    weights.layers.push_back(std::move(layer));
  }
  weights.positions = std::move(stored.positions);
  weights.embedding_norm = std::move(stored.embedding_norm);
  weights.words = readable(*stored.words, weights.words_copy);
  return weights;
}

}  // namespace autoglm::model

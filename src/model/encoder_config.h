// SPDX-License-Identifier: Apache-2.0
// The description that the encoder runs: what a family of families/encoder_family.h makes of a config.json, and what
// the folder of a sentence embedder says about its one vector. Plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace autoglm::model {

// BERT's shape: attention in both directions, a LayerNorm behind attention and MLP, biases everywhere, GELU, a learned
// vector for each position. Source: Devlin et al. 2018, arXiv:1810.04805.
struct EncoderConfig {
  std::string architecture;  // model_type
  std::size_t vocab = 0;
  std::size_t hidden = 0;
  std::size_t heads = 0;
  std::size_t feed_forward = 0;
  std::size_t layers = 0;
  std::size_t positions = 0;       // rows of the table of positions
  std::size_t first_position = 0;  // of a text's first token
  std::size_t token_types = 0;     // of which a single text has the first; 0 = no table
  double norm_eps = 0;
  // A reranker: in place of a vector one number says how well the second of two texts answers the first.
  bool has_score = false;
  bool is_score_raw = false;   // else it is a probability: the number's sigmoid
  std::size_t separators = 1;  // between the texts of a pair

  std::size_t head_dim() const { return hidden / heads; }
  std::size_t max_tokens() const { return positions - first_position; }
};

// What an encoder's weights are called in a file, without .weight and .bias. "{}" stands for the layer's index.
struct EncoderNames {
  std::string_view words, positions, token_types, embedding_norm;
  std::string_view query, key, value, output, attention_norm;
  std::string_view up, down, mlp_norm;
};

// The two layers of a reranker's score, by their whole names: a tanh is between them.
struct ScoreNames {
  std::string_view dense, out;
};

// An encoder in a checkpoint.
struct EncoderDescription {
  EncoderConfig config;
  const EncoderNames* names = nullptr;
  std::string_view prefix = {};  // before its tensors' names, in files of models that are more than an encoder
  ScoreNames score = {};         // read where the config has one
};

/// Every relation between the numbers that the encoder relies on. kInvalidArgument names what does not hold.
Status check_encoder_config(const EncoderConfig& config);

// How the vectors of a text's tokens become one.
enum class Pooling : std::uint8_t { kMean, kFirst };

struct SentenceSettings {
  Pooling pooling = Pooling::kMean;
  bool is_normalised = false;
  std::size_t max_tokens = 0;  // that the embedder was made for, special ones included; 0 = it does not say
  // Lengths, besides the whole, that its vectors may be cut to (Matryoshka representations, arXiv:2205.13147); with
  // may_cut_anywhere all below it.
  std::vector<std::size_t> dimensions = {};
  bool may_cut_anywhere = false;
};

}  // namespace autoglm::model

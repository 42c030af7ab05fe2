// SPDX-License-Identifier: Apache-2.0
// From a folder in the layout of sentence-transformers, of a bare encoder, or a GGUF file, to one that can run.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "model/embedding_model.h"
#include "model/encoder_config.h"
#include "model/load.h"
#include "text/tokenizer.h"

namespace autoglm::model {

struct LoadedEncoder {
  std::unique_ptr<EmbeddingModel> network;
  std::shared_ptr<const text::Tokenizer> tokenizer;  // ids_only() for a folder without tokenizer.json
  SentenceSettings settings;
  bool is_reranker = false;        // its one number of a pair of texts is a score
  std::size_t separators = 1;      // between the texts of a pair
  std::size_t context_length = 0;  // longest text: what was asked for, else what the folder says
};

/// Whether the checkpoint at `path` is an encoder: its config.json has the model_type of one, or its GGUF the
/// architecture. Errors: as load_encoder() for what cannot be read.
Result<bool> is_encoder(const std::filesystem::path& path);

/// Errors: kNotFound (no such path), kCorrupt (broken file), kInvalidArgument (no encoder, or one that needs what we
/// lack; names it), kExhausted (memory).
Result<LoadedEncoder> load_encoder(const std::filesystem::path& path, const LoadOptions& options);

/// The vector of one text of these tokens. Reserves the encoder's memory: call it on a freshly loaded one, once.
///   Errors   kInvalidArgument (no ids, an id outside the vocabulary, more ids than positions)
Result<std::vector<float>> compute_embedding(LoadedEncoder& encoder, std::span<const TokenId> ids);

}  // namespace autoglm::model

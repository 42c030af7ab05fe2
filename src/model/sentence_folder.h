// SPDX-License-Identifier: Apache-2.0
// What the folder of a sentence embedder says beside its encoder: modules.json, the config of its pooling, its longest
// text. The layout is that of sentence-transformers. Untrusted files; any thread.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "model/encoder_config.h"
#include "model/formats/checkpoint.h"

namespace autoglm::model {

/// A folder without modules.json is a bare encoder: the mean of its tokens' vectors, as it is.
///   Errors   kCorrupt, kInvalidArgument (a module or a way of pooling that we lack, by name)
Result<SentenceSettings> read_sentence_folder(const std::filesystem::path& folder);

/// The same for any checkpoint. A GGUF says how vectors are pooled and no more: they are normalised, as its own
/// programs do it. A folder's config.json adds the dimensions.
Result<SentenceSettings> read_sentence_settings(const std::filesystem::path& path, const Checkpoint& checkpoint);

// Its parts, for tests.
struct SentenceModules {
  std::filesystem::path pooling;  // folder of its config; empty = none
  bool is_normalised = false;
};
/// From modules.json: an encoder, then pooling, then perhaps Normalize.
Result<SentenceModules> parse_modules(std::string_view text);
/// From 1_Pooling/config.json.
Result<Pooling> parse_pooling(const json::Object& config);
/// What config.json says of shorter vectors, under the names that vLLM reads: `matryoshka_dimensions`, `is_matryoshka`.
Status read_dimensions(const json::Object& config, SentenceSettings& settings);

}  // namespace autoglm::model

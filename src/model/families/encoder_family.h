// SPDX-License-Identifier: Apache-2.0
// A family of encoders: how a config.json becomes an EncoderConfig. One file a family, one row each in the table of
// encoder_families.cc. Their tensors have BERT's names. Any thread.
#pragma once

#include <span>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "model/encoder_config.h"
#include "model/formats/checkpoint.h"

namespace autoglm::model {

struct EncoderFamily {
  std::string_view name;  // the words of its row in docs/guides/models.md
  std::string_view note;
  std::string_view architecture = {};  // in GGUF; empty = there is none
  std::string_view model_type;
  // Before its tensors' names in checkpoints of models that are more than an encoder: "bert."
  std::string_view prefix;
  ScoreNames score = {};  // of its rerankers
  Result<EncoderConfig> (*from_json)(const json::Object& config) = nullptr;
  Result<EncoderConfig> (*from_gguf)(const GgufFile& file) = nullptr;
};

extern const EncoderFamily kBert;
extern const EncoderFamily kXlmRoberta;

/// All of them, in the order of the table.
std::span<const EncoderFamily* const> all_encoder_families();
/// The one that this config.json, GGUF or checkpoint is of; null = none.
const EncoderFamily* find_encoder_family(const json::Object& config);

const EncoderFamily* find_encoder_family(const GgufFile& file);
const EncoderFamily* find_encoder_family(const Checkpoint& checkpoint);
/// An encoder of that family. Errors: as read_encoder_config().
Result<EncoderDescription> describe_encoder(const EncoderFamily& family, const Checkpoint& checkpoint);

/// What all of them read alike; `first_position` of a text. Refuses by name what changes the computation and is not
/// done here (another activation, positions that are not a table, a decoder).
///   Errors   kInvalidArgument, kCorrupt (a value is missing or of the wrong type)
Result<EncoderConfig> read_encoder_config(const json::Object& config, std::size_t first_position);
/// The same from GGUF metadata, where the table of positions begins with a text's first.
Result<EncoderConfig> read_encoder_config(const GgufFile& file);

}  // namespace autoglm::model

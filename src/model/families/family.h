// SPDX-License-Identifier: Apache-2.0
// A family: how the metadata of one kind of checkpoint becomes a ModelConfig, and what its tensors are called. One file
// a family, one row each in the table of families.cc (docs/guides/new-family.md). Any thread.
#pragma once

#include <span>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "model/config.h"
#include "model/families/tensor_names.h"
#include "model/formats/checkpoint.h"
#include "model/formats/gguf.h"

namespace autoglm::model {

struct Family {
  // The words of its row in docs/guides/models.md: its models, and what is its own.
  std::string_view name;
  std::string_view note;
  // One of the two may be missing: name and reader.
  std::string_view architecture = {};  // general.architecture of a GGUF
  std::string_view model_type = {};    // model_type of a config.json
  Result<ModelConfig> (*from_gguf)(const GgufFile& file) = nullptr;
  Result<ModelConfig> (*from_json)(const json::Object& config) = nullptr;
  const TensorNames& (*json_names)() = nullptr;         // of the safetensors
  const TensorNames& (*own_gguf_names)() = gguf_names;  // of the GGUF
};

extern const Family kLlama;
extern const Family kQwen2;
extern const Family kQwen3;
extern const Family kQwen3Moe;
extern const Family kGemma3;
extern const Family kMistral;
extern const Family kGlm;
extern const Family kGlm4;
extern const Family kGlm4v;
extern const Family kGlm4Moe;
extern const Family kPhi3;
extern const Family kChatGlm;

/// All of them, in the order of the table.
std::span<const Family* const> all_families();

// What the loader needs to know of a checkpoint before it reads a weight.
struct Description {
  ModelConfig config;
  const TensorNames* names = nullptr;

  /// Whether a tensor is of a part that is known and not run.
  bool leaves_out(std::string_view tensor) const;
};

/// Finds the checkpoint's family and lets it describe the model; checks the result. Reads no weights.
///   Errors   kInvalidArgument (an architecture or a setting that we lack, by name), kCorrupt (a value is missing or of
///            the wrong type)
Result<Description> describe(const Checkpoint& checkpoint);
Result<Description> describe(const GgufFile& file);
Result<Description> describe(const json::Object& config);  // a config.json

}  // namespace autoglm::model

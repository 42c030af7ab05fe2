// SPDX-License-Identifier: Apache-2.0
// From a path to a model that can run: opens the checkpoint (GGUF file, or safetensors folder), finds its family, packs
// the weights, builds tokenizer and chat template. Refuses with a sentence what it cannot run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "kernels/ops.h"
#include "model/language_model.h"
#include "telemetry/stages.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "text/tool_format.h"

namespace autoglm::model {

struct LoadOptions {
  kernels::Isa isa = kernels::Isa::kScalar;  // callers pass kernels::available_isas().back()
  kernels::Compute compute = kernels::Compute::kFast;
  kernels::KvType kv_type = kernels::KvType::kF16;  // of fast; exact has f32, whatever this says
  int threads = 1;
  std::size_t context_length = 0;  // 0 = the checkpoint's own
  // F32 or F16: linear layers run on the file's values in that type, to compare with. Nothing = as stored.
  std::optional<kernels::DType> weights_as;
  std::function<void(std::size_t done_bytes, std::size_t total_bytes)> progress;  // packing; may be empty
  telemetry::Stages* stages = nullptr;  // of loading and of every forward(); must outlive the model, may be null
};

inline kernels::KvType kv_type_of(const LoadOptions& options) {
  return options.compute == kernels::Compute::kExact ? kernels::KvType::kF32 : options.kv_type;
}

struct LoadedModel {
  std::unique_ptr<LanguageModel> network;
  std::shared_ptr<const text::Tokenizer> tokenizer;         // ids_only() for a folder without tokenizer.json
  std::shared_ptr<const text::ChatTemplate> chat_template;  // null for a base model
  std::optional<text::ToolFormat> tool_format;              // nothing when the template knows no tools
  std::vector<TokenId> eos;  // every id that ends an answer (config, generation_config, tokenizer)
};

/// Errors: kNotFound (no such path), kCorrupt (broken file), kInvalidArgument (a checkpoint that needs what we lack;
/// names it), kExhausted (memory).
Result<LoadedModel> load_model(const std::filesystem::path& path, const LoadOptions& options);

/// The network alone, without tokenizer and template. Errors: as above.
Result<std::unique_ptr<LanguageModel>> load_network(const std::filesystem::path& path, const LoadOptions& options);

// The words of a model without its weights: for encoding, decoding and rendering prompts.
struct LoadedText {
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::shared_ptr<const text::ChatTemplate> chat_template;  // null when there is none
  std::optional<text::ToolFormat> tool_format;              // as in LoadedModel
  std::vector<TokenId> eos;                                 // as in LoadedModel; rising
};

/// From a GGUF file, or from a folder that holds at least tokenizer.json. Errors: as above.
Result<LoadedText> load_text(const std::filesystem::path& path);

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
// What a checkpoint is, without loading it: architecture, sizes, element types, memory needed. For `inspect MODEL`.
// Reads metadata only; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernels/roof.h"
#include "model/config.h"
#include "model/load.h"

namespace autoglm::model {

struct TypeFacts {
  std::string type;  // "Q4_K", "F32", ...
  std::size_t tensors = 0;
  std::uint64_t elements = 0;
  std::uint64_t bytes = 0;
};

// Linear layers that run on one arithmetic; the head, which only some tokens need, apart.
struct LinearFacts {
  kernels::Arithmetic arithmetic = kernels::Arithmetic::kF32;  // on the chosen instruction set
  bool is_head = false;
  std::uint64_t weights = 0;  // multiply-adds of one token
  std::uint64_t bytes = 0;    // as stored
};

struct ModelFacts {
  std::string format;        // "GGUF v3", "safetensors"
  std::string architecture;  // "llama", "gemma3", ...
  std::string name;          // general.name of a GGUF, else empty
  std::uint64_t parameters = 0;
  std::uint64_t active_parameters = 0;  // those that a token meets
  std::uint64_t file_bytes = 0;
  std::size_t vocab = 0, hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, feed_forward = 0;
  ExpertConfig experts;
  std::size_t expert_layers = 0;
  std::size_t context_length = 0;
  std::size_t sliding_window = 0;  // of the layers that have one, 0 = none
  std::size_t sliding_layers = 0;  // how many do
  bool has_tied_head = false;
  std::string tokenizer;  // "gpt2 (smollm)", "tokenizer.json", or empty
  bool has_chat_template = false;
  std::string embedding;         // of an encoder, for people; empty = it writes text
  std::vector<TypeFacts> types;  // by falling bytes
  std::vector<LinearFacts> linear;
  std::uint64_t packed_bytes = 0;        // weights as the engine keeps them, on the chosen instruction set
  std::uint64_t expert_bytes = 0;        // of those, what is packed only when it is used
  std::uint64_t kv_bytes_per_token = 0;  // all layers
  std::uint64_t int8_kv_bytes_per_token = 0;
  std::uint64_t kv_bytes_of_context = 0;  // one sequence of context_length
};

/// Errors: as load_model() for what is missing, broken or not supported.
Result<ModelFacts> inspect_model(const std::filesystem::path& path, const LoadOptions& options);

/// The facts as lines of text for people.
std::string format_facts(const ModelFacts& facts);

}  // namespace autoglm::model

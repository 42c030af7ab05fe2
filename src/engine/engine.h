// SPDX-License-Identifier: Apache-2.0
// One model, one thread, one loop: the Generator that the server, the agent and the tests talk to. Owns the scheduler,
// the block pool, the sampler and every sequence; other threads only reach its queue. (life of a request, steps 5-8)
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "engine/compute_turns.h"
#include "generation/generator.h"
#include "model/language_model.h"
#include "telemetry/metrics.h"

namespace autoglm::engine {

struct EngineOptions {
  std::size_t max_batch_size = 32;     // sequences that run together
  std::size_t max_batch_tokens = 512;  // rows of one step; longer prompts are cut into chunks
  std::size_t max_prefill_chunk = 0;   // rows of one prompt in a step; 0 = what max_batch_tokens leaves
  base::Duration batch_timeout{0};     // longest wait of a lonely request for company
  std::size_t queue_capacity = 256;    // requests in the engine besides max_batch_size; more are refused
  std::size_t context_length = 0;      // 0 = the model's
  std::size_t kv_bytes = 0;            // 0 = default_kv_bytes()
  bool has_prefix_cache = true;        // KV of earlier prompts and answers is found again, within a tenant
  bool has_jump_forward = true;        // tokens that a grammar forces are not sampled one at a time
  ComputeTurns* turns = nullptr;       // shared with other models, outlives the engine; null = it has the processor
  double weight = 1;                   // of its turns
};

// What an engine runs. The scripted model fills the same fields.
struct EngineModel {
  std::unique_ptr<model::LanguageModel> network;
  generation::ModelCard card;  // its bounds are filled in by the engine
  std::vector<model::TokenId> eos;
  bool is_scripted = false;  // a grammar that forbids the script's next token ends the request with kInternal
};

/// Bytes of KV memory that kv_bytes = 0 stands for: max_batch_size full contexts, at most a quarter of the memory that
/// the machine and its cgroup leave now (beside weights that are packed later), at least one block. Fills
/// card().kv_bytes when the engine starts.
std::size_t default_kv_bytes(const model::LanguageModel& network, const EngineOptions& options);

/// Reserves KV memory and starts the engine's thread. Errors: kExhausted (not enough memory for one sequence of one
/// block), kInvalidArgument.
Result<std::unique_ptr<generation::Generator>> start_engine(EngineModel model, const EngineOptions& options,
                                                            const base::Clock& clock, telemetry::Registry& metrics);

/// The scripted model of a script file (docs/formats/script.md): byte-level tokenizer, chat template, rules from prompt
/// pattern to reply.
Result<EngineModel> load_script(std::string_view script_text);

}  // namespace autoglm::engine

// SPDX-License-Identifier: Apache-2.0
// One encoder, one thread, one loop: the Embedder that the server and the bench talk to. Beside engine.h: texts have no
// KV to keep, no tokens to draw and no order, so that only the door, the thread and the words are alike.
// (docs/decisions/0014-encoders.md)
#pragma once

#include <cstddef>
#include <memory>

#include "base/clock.h"
#include "base/result.h"
#include "engine/compute_turns.h"
#include "generation/embedder.h"
#include "model/embedding_model.h"
#include "telemetry/metrics.h"

namespace autoglm::engine {

struct EmbeddingOptions {
  std::size_t max_batch_size = 32;                               // texts that run together
  std::size_t max_batch_tokens = 512;                            // of them together; raised to the longest text
  base::Duration batch_timeout = std::chrono::milliseconds(50);  // longest wait for company
  std::size_t queue_capacity = 256;  // requests in the engine besides max_batch_size; more are refused
  std::size_t max_requests = 0;      // that are at work at once; 0 = no other bound than max_batch_size
  ComputeTurns* turns = nullptr;     // shared with other models, outlives the engine; null = it has the processor
  double weight = 1;                 // of its turns
};

struct EmbeddingEngineModel {
  std::unique_ptr<model::EmbeddingModel> network;
  generation::EmbedderCard card;  // context_length is given; its other bounds are filled in by the engine
};

/// Reserves the model's scratch and starts the engine's thread. Errors: kInvalidArgument, kExhausted (memory).
Result<std::unique_ptr<generation::Embedder>> start_embedding_engine(EmbeddingEngineModel model,
                                                                     const EmbeddingOptions& options,
                                                                     const base::Clock& clock,
                                                                     telemetry::Registry& metrics);

}  // namespace autoglm::engine

// SPDX-License-Identifier: Apache-2.0
// What the engine knows of a model: its limits, its KV memory and forward(). The transformer is one; the engine's
// scripted model is another. Engine thread only, once loaded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/thread_pool.h"
#include "model/batch.h"
#include "telemetry/stages.h"

namespace autoglm::model {

// What a stage of forward() does at least, by its weights alone.
struct StageWork {
  double macs_per_row = 0;  // multiply-adds
  double weight_bytes = 0;  // read once a step, whatever its rows (experts: by one row)
};

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;

  virtual std::size_t vocab() const = 0;
  virtual std::size_t context_length() const = 0;  // longest sequence, in tokens
  /// Sequences that may grow longer than this turn by another rope, from their first token on (SequenceRows::is_long);
  /// 0 = all are alike.
  virtual std::size_t short_context() const { return 0; }
  virtual std::size_t kv_bytes_per_block()
      const = 0;  // all layers, keys and values, of kernels::KvLayer::kBlockTokens tokens

  /// Reserves KV memory for `blocks` blocks and scratch for batches of up to `max_rows` rows, of which up to
  /// `max_logit_rows` want logits. Called once, before the first forward(). After it, forward() does not allocate, but
  /// for an expert on its first use.
  virtual void reserve(std::size_t blocks, std::size_t max_rows, std::size_t max_logit_rows) = 0;

  /// Copies all KV of one block onto another, before a step.
  virtual void copy_block(std::uint32_t from, std::uint32_t to) = 0;

  /// One step: writes the KV of every row of the batch and returns the logits asked for.
  virtual Logits forward(const Batch& batch) = 0;

  /// The threads that forward() computes on, for the engine's own use between steps; null = none.
  virtual base::ThreadPool* pool() { return nullptr; }

  /// Memory that weights packed on their first use may yet take.
  virtual std::size_t unpacked_bytes() const { return 0; }

  /// Of the stages that are linear layers; nothing of the others.
  virtual StageWork work(telemetry::Stage) const { return {}; }
};

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
// The other door: texts go in, a vector of each comes out. Beside generator.h and as that one: the server, the bench
// and the tests know nothing behind it. Any thread.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "generation/generator.h"
#include "telemetry/stages.h"
#include "text/tokenizer.h"

namespace autoglm::generation {

// Special tokens before, between and behind the two texts that a reranker reads as one.
struct PairFrame {
  std::vector<TokenId> before, between, behind;
  std::size_t size() const { return before.size() + between.size() + behind.size(); }
};

// What is served behind the door.
struct EmbedderCard {
  std::string name;  // as clients call it
  std::int64_t created_unix_seconds = 0;
  std::size_t context_length = 0;  // tokens of one text
  std::size_t width = 0;           // dimensions of a vector
  bool is_normalised = false;      // vectors have length 1
  // Lengths, besides `width`, that a vector may be cut to (Matryoshka representations, Kusupati et al. 2022,
  // arXiv:2205.13147); with may_cut_anywhere all below it.
  std::vector<std::size_t> dimensions;
  bool may_cut_anywhere = false;
  std::optional<PairFrame> pairs;  // a reranker's: its vector is one number, the score of a pair
  std::size_t max_batch_size = 0;  // texts of one step
  std::size_t max_in_flight = 0;   // requests that run and wait together; more are kExhausted
  std::shared_ptr<const text::Tokenizer> tokenizer;
  telemetry::Stages* stages = nullptr;  // of tokenising; filled in by the engine, may be null
};

inline constexpr std::size_t kMaxTexts = 2048;  // of one request: OpenAI's bound

struct EmbeddingRequest {
  std::string id;                           // for logs; chosen by the caller
  std::vector<std::vector<TokenId>> texts;  // token ids, special ones included; at least one text, none empty
  std::vector<std::size_t> second_begins;   // [texts]: where the second of a pair begins; empty = there are no pairs
  std::string tenant;
};

struct EmbeddingAnswer {
  std::vector<float> vectors;  // [texts, width], row-major
  double queue_seconds = 0, total_seconds = 0;
};

// Called on the engine's thread, once: returns quickly, never blocks, never throws.
class EmbeddingSink {
 public:
  virtual ~EmbeddingSink() = default;
  /// kCancelled, kUnavailable (the engine was stopped).
  virtual void on_end(Result<EmbeddingAnswer> answer) = 0;
};

class Embedder {
 public:
  virtual ~Embedder() = default;

  virtual const EmbedderCard& card() const = 0;

  /// Queues a request. What comes of it does not depend on the others: its vectors are bit-equal whatever runs with it.
  ///   Errors   kInvalidArgument (no text, too many of them, an empty one, one longer than the context, an id outside
  ///            the vocabulary; Error::where is "input" or "input[i]"), kExhausted (queue full), kUnavailable
  ///            (draining)
  virtual Result<Ticket> submit(EmbeddingRequest request, std::shared_ptr<EmbeddingSink> sink) = 0;

  /// Ends a request wherever it is; its sink gets kCancelled within a step. Unknown or finished tickets are ignored.
  virtual void cancel(Ticket ticket) = 0;

  virtual bool is_ready() const = 0;
  virtual void drain() = 0;  // refuses new requests; those inside go on
  virtual std::size_t in_flight() const = 0;
};

/// The frame that a tokenizer's own special tokens make: as transformers has it for BERT (one separator between) and
/// XLM-RoBERTa (two). kInvalidArgument: it puts no token before and one behind a text.
Result<PairFrame> make_pair_frame(const text::Tokenizer& tokenizer, std::size_t separators);

// Keeps the end for the thread that waits for it.
class WaitingSink final : public EmbeddingSink {
 public:
  void on_end(Result<EmbeddingAnswer> answer) override EXCLUDES(mutex_);
  /// The end, or nothing when this has gone by. It is handed out once.
  std::optional<Result<EmbeddingAnswer>> wait(base::Duration longest) EXCLUDES(mutex_);
  Result<EmbeddingAnswer> wait() EXCLUDES(mutex_);

 private:
  base::Mutex mutex_;
  std::condition_variable changed_;
  std::optional<Result<EmbeddingAnswer>> answer_ GUARDED_BY(mutex_);
};

/// The blocking way through the door, for the bench and tests. Errors: those of submit() and of the sink.
Result<EmbeddingAnswer> embed(Embedder& embedder, EmbeddingRequest request);

}  // namespace autoglm::generation

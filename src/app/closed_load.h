// SPDX-License-Identifier: Apache-2.0
// A closed load on a Generator or an Embedder: a fixed number of clients, each of which asks again as soon as it has
// its answer. The measuring of `bench headline` and `bench embed`. The calling thread waits; every client has a thread
// of its own.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "generation/embedder.h"
#include "generation/generator.h"

namespace autoglm::app {

struct LoadPlan {
  std::size_t clients = 16;
  std::size_t requests = 2;  // of each client that count, after a first that does not: by then the queue is full
  std::size_t prompt_tokens = 128;
  std::size_t answer_tokens = 64;  // exactly: no token ends an answer
};

// Of the requests that count, in the order in which they ended.
struct LoadResult {
  std::vector<double> seconds;  // from submit to the end of the answer
  double span_seconds = 0;      // from the end of the last that does not count to the end of the last

  double mean() const;
  /// The least latency that `share` (0 to 1) of the requests do not exceed.
  double percentile(double share) const;
  double requests_per_second() const;
};

struct EmbeddingLoadPlan {
  std::size_t clients = 32;
  std::size_t requests = 50;  // as above
  std::size_t tokens = 16;    // of the one text of a request
  std::size_t vocab = 0;      // ids are drawn below it
};

/// Hears of every request that ended, from any client's thread, one at a time; may be empty.
using LoadProgress = std::function<void(std::size_t done, std::size_t total)>;

/// Loads an idle generator. Prompts are random tokens, no two alike; answers are greedy.
///   Errors   those of submit(), and of a request that failed or ended early: the first one, once all clients stopped
Result<LoadResult> measure_closed_load(generation::Generator& generator, const LoadPlan& plan, const base::Clock& clock,
                                       const LoadProgress& progress);

/// The same of an idle embedder.
Result<LoadResult> measure_embedding_load(generation::Embedder& embedder, const EmbeddingLoadPlan& plan,
                                          const base::Clock& clock, const LoadProgress& progress);

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
// What `bench embed` prints: one client, many one by one, many batched. Pure text; any thread.
#pragma once

#include <string>
#include <vector>

#include "app/closed_load.h"
#include "base/json.h"

namespace autoglm::app {

struct EmbedRow {
  std::size_t clients = 1;
  std::size_t max_batch_size = 1;
  LoadResult load;
};

struct EmbedReport {
  std::string model, architecture, processor, isa, compute, version;
  int threads = 1;
  std::size_t tokens = 0;    // of a text
  std::size_t requests = 0;  // of each client
  int batch_timeout_ms = 0;
  std::vector<EmbedRow> rows;  // one client; many, one by one; many, batched
};

/// What the last row does of the texts a second of the one before it, and takes of its mean latency.
double rate_gain(const EmbedReport& report);
double latency_share(const EmbedReport& report);

std::string format_embed(const EmbedReport& report);
/// {"rows":[{"clients","max_batch_size","texts_per_second","mean_ms","p50_ms","p99_ms"}],"rate_gain","latency_share",...}
json::Object to_json(const EmbedReport& report);

}  // namespace autoglm::app

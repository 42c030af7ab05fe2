// SPDX-License-Identifier: Apache-2.0
// What `bench` prints: a table with bars for people, JSON for machines. Pure text; any thread.
#pragma once

#include <string>
#include <vector>

#include "app/bench_measure.h"
#include "base/json.h"
#include "kernels/roof.h"
#include "model/inspect.h"

namespace autoglm::app {

// What one token costs at least, by the weights alone (attention and everything else come on top).
struct TokenCost {
  double prefill_macs = 0;  // multiply-adds of a prompt's token: all linear layers but the head
  double decode_macs = 0;   // the head too
  double weight_bytes = 0;  // read by a decode step, whatever its batch: as stored in the file
};

/// From parameter count and bytes. An embedding table that is not the head too is only looked up and counts for
/// nothing.
TokenCost token_cost(const model::ModelFacts& facts);

struct BenchReport {
  std::string model;  // as the caller named it
  std::string architecture;
  std::string processor;
  std::string isa;
  std::string compute;
  std::string kv_type;
  std::string version;
  int threads = 1;
  std::size_t depth = 0;
  double load_seconds = 0;
  kernels::Roof roof;
  TokenCost cost;
  std::vector<BenchResult> results;
};

/// Tokens a second that the roof allows: the int8 multiply-adds of prefill; of decode the tighter of multiply-adds and
/// weight bytes, which all sequences of a batch share. 0 when the cost is not known.
double limit_tokens_per_second(const BenchReport& report, const BenchResult& result);

/// The table; with escape sequences for colours when `with_colour`.
std::string format_table(const BenchReport& report, bool with_colour);

/// {"results":[{"kind","batch","tokens_per_second",...}],"roof":{...},"machine":{...},...}
json::Object to_json(const BenchReport& report);

}  // namespace autoglm::app

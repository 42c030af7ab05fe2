// SPDX-License-Identifier: Apache-2.0
// What `bench` prints: a table with bars for people, JSON for machines. Pure text; any thread.
#pragma once

#include <iterator>
#include <string>
#include <vector>

#include "app/bench_measure.h"
#include "base/json.h"
#include "kernels/roof.h"
#include "model/inspect.h"

namespace autoglm::app {

// What tokens cost at least: the linear layers and the bytes of weights and KV. Attention's own arithmetic and
// everything else come on top.
struct TokenCost {
  double layer_macs[std::size(kernels::kArithmetics)] = {};  // of every token, by arithmetic
  double head_macs[std::size(kernels::kArithmetics)] = {};   // of a token whose logits are wanted
  double weight_bytes = 0;                                   // read by a decode step, whatever its batch: as stored
  double kv_bytes_per_token = 0;                             // of all layers but the sliding ones
  double sliding_kv_bytes_per_token = 0;
  double sliding_window = 0;

  bool is_known() const { return weight_bytes > 0; }
  /// Read by a decode step for each sequence with `context` tokens.
  double kv_bytes(double context) const;
};

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

/// Tokens a second that the roof allows. Prefill: the multiply-adds of all linear layers, of the head for the last
/// token only. Decode: the tighter of the multiply-adds, the head's for each token, and the bytes: weights once a step
/// for all sequences of a batch, and each sequence's KV. 0 when the cost is not known.
double limit_tokens_per_second(const BenchReport& report, const BenchResult& result);

/// The table; with escape sequences for colours when `with_colour`.
std::string format_table(const BenchReport& report, bool with_colour);

/// {"results":[{"kind","batch","tokens_per_second",...}],"roof":{...},"machine":{...},...}
json::Object to_json(const BenchReport& report);

}  // namespace autoglm::app

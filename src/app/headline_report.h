// SPDX-License-Identifier: Apache-2.0
// What `bench headline` prints: the classic table from plain F32 to quantised and batched. Pure text; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "app/closed_load.h"
#include "base/json.h"

namespace autoglm::app {

struct HeadlineRow {
  std::string weights;             // "F32", "Q8_0 as stored"
  std::string batching;            // "one at a time", "batched"
  std::string compute;             // "exact", "fast"
  std::size_t resident_bytes = 0;  // of the whole process once the row's engine stands
  LoadResult load;
};

struct HeadlineReport {
  std::string model, architecture, processor, isa, version;
  int threads = 1;
  LoadPlan plan;
  std::vector<HeadlineRow> rows;  // the first is what the others are held against
};

/// What both ratios should reach: 1200 to 300 ms, 8.3 to 33.3 requests a second.
inline constexpr double kHeadlineTarget = 4;

/// Of two rows, above 1 where `row` is better.
double latency_ratio(const HeadlineRow& first, const HeadlineRow& row);
double rate_ratio(const HeadlineRow& first, const HeadlineRow& row);

std::string format_headline(const HeadlineReport& report, bool with_colour);

/// {"rows":[{"weights","batching","mean_ms","p50_ms","p99_ms","requests_per_second",...}],"latency_ratio",
/// "requests_per_second_ratio","target",...}
json::Object to_json(const HeadlineReport& report);

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
// What `bench roof` found, and how it prints it: a table with bars for people, JSON for machines. Pure text; any
// thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "kernels/roof.h"

namespace autoglm::app {

// One figure for each thread count of the report.
struct ReadRates {
  std::size_t bytes = 0;  // all threads read these together, again and again
  std::vector<double> bytes_per_second;
};

struct MacRates {
  kernels::Isa isa = kernels::Isa::kScalar;
  kernels::Arithmetic arithmetic = kernels::Arithmetic::kInt8;
  std::vector<double> macs_per_second;
};

// What was not measured.
struct Skipped {
  std::string what, why;
};

struct RoofReport {
  std::string processor;
  std::string version;
  std::vector<int> threads;  // rising
  std::vector<ReadRates> reads;
  std::vector<MacRates> macs;
  std::vector<Skipped> skipped;
};

/// 1, 2, 4, ... and `threads`.
std::vector<int> thread_steps(int threads);

/// Two tables; bars show the last thread count beside the best of its table. With escape sequences when `with_colour`.
std::string format_roof(const RoofReport& report, bool with_colour);

/// {"threads":[...],"read":[{"bytes","bytes_per_second":[...]}],"macs":[{"isa","arithmetic","macs_per_second":[...]}],
/// "skipped":[{"what","why"}],...}
json::Object to_json(const RoofReport& report);

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
// What the stage profiler counted, as a table for people and as JSON: milliseconds, shares and calls of each stage, and
// what no stage accounts for. `bench stages` and `run --profile` print it. Pure text; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "base/json.h"
#include "telemetry/stages.h"

namespace autoglm::app {

struct StageReport {
  std::string title;                                           // "prefill of 512 tokens"
  std::string unit = "answer";                                 // what each figure is of
  std::size_t units = 1;                                       // how many of them were measured; figures are their mean
  double seconds = 0;                                          // that passed, of all units
  telemetry::StageTimes times;                                 // of all units
  std::array<double, telemetry::kStageCount> least_seconds{};  // that the roof allows a unit; 0 = not known

  double milliseconds() const;  // of a unit
  double milliseconds(telemetry::Stage stage) const;
  double calls(telemetry::Stage stage) const;
  double unattributed_milliseconds() const;
  /// Of the time that passed. A stage beside it has no share, nor has loading; the others and what is not attributed
  /// make 1.
  double share(telemetry::Stage stage) const;
  double unattributed_share() const;
  double share_of_roof(telemetry::Stage stage) const;  // 0 = not known
};

/// Stages that were not entered are left out; with escape sequences for colours when `with_colour`.
std::string format_stages(const StageReport& report, bool with_colour);

/// "loaded in 310 ms: tokenizer 50, weights 260", or nothing when nothing was loaded.
std::string format_loading(const telemetry::StageTimes& times);

/// {"unit","units","milliseconds","not_attributed":{...},"stages":[{"stage","milliseconds","share","calls",...}]}
json::Object stages_to_json(const StageReport& report);

}  // namespace autoglm::app

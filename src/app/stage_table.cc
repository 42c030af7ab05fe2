// SPDX-License-Identifier: Apache-2.0
#include "app/stage_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "app/table_style.h"

namespace autoglm::app {
namespace {

using telemetry::Stage;
using telemetry::StagePlace;

bool is_part_of_time(StagePlace place) { return place == StagePlace::kCaller || place == StagePlace::kStep; }

// Those that were entered, but for loading, which happened before.
std::vector<Stage> entered(const StageReport& report) {
  std::vector<Stage> stages;
  for (std::size_t i = 0; i < telemetry::kStageCount; ++i) {
    const auto stage = static_cast<Stage>(i);
    if (report.times[stage].calls > 0 && telemetry::spec_of(stage).place != StagePlace::kLoad) stages.push_back(stage);
  }
  return stages;
}

std::string share_of_time(const StageReport& report, Stage stage, const Palette& style) {
  if (!is_part_of_time(telemetry::spec_of(stage).place)) return fmt::format("{:>8}  {:{}}", "beside", "", kBarCells);
  const double share = report.share(stage);
  return fmt::format("{:>6.1f} %  {}{}{}", share * 100, style.bar, share_bar(share), style.plain);
}

// 30 of the layers of a step, 1.5 where not each step has one.
std::string format_calls(double calls) {
  return calls == std::floor(calls) ? fmt::format("{:.0f}", calls) : fmt::format("{:.2f}", calls);
}

}  // namespace

double StageReport::milliseconds() const { return seconds * 1e3 / static_cast<double>(units); }

double StageReport::milliseconds(Stage stage) const {
  return static_cast<double>(times[stage].nanoseconds) * 1e-6 / static_cast<double>(units);
}

double StageReport::calls(Stage stage) const {
  return static_cast<double>(times[stage].calls) / static_cast<double>(units);
}

double StageReport::unattributed_milliseconds() const {
  const auto counted = static_cast<double>(times.sum(StagePlace::kCaller) + times.sum(StagePlace::kStep)) * 1e-6;
  return std::max(0.0, milliseconds() - counted / static_cast<double>(units));
}

double StageReport::share(Stage stage) const {
  if (seconds <= 0 || !is_part_of_time(telemetry::spec_of(stage).place)) return 0;
  return milliseconds(stage) / milliseconds();
}

double StageReport::unattributed_share() const {
  return seconds > 0 ? unattributed_milliseconds() / milliseconds() : 0;
}

double StageReport::share_of_roof(Stage stage) const {
  const double measured = milliseconds(stage);
  return measured > 0 ? least_seconds[static_cast<std::size_t>(stage)] * 1e3 / measured : 0;
}

std::string format_stages(const StageReport& report, bool with_colour) {
  const Palette& style = palette(with_colour);
  const bool has_roof = std::ranges::any_of(report.least_seconds, [](double seconds) { return seconds > 0; });
  std::string text = fmt::format("{}{}{}  {:.2f} ms", style.bold, report.title, style.plain, report.milliseconds());
  if (report.units > 1) text += fmt::format(" a {}, mean of {}", report.unit, report.units);
  text += fmt::format("\n{}{:<18}{:>10} {:>8}  {:{}} {:>7}{}{}\n", style.dim, "stage", "ms", "share", "", kBarCells,
                      "calls", has_roof ? "  of roof" : "", style.plain);
  for (const Stage stage : entered(report)) {
    text += fmt::format("{:<18}{:>10.3f} {} {:>7}", telemetry::spec_of(stage).name, report.milliseconds(stage),
                        share_of_time(report, stage, style), format_calls(report.calls(stage)));
    if (const double roof = report.share_of_roof(stage); roof > 0) text += fmt::format("{:>7.0f} %", roof * 100);
    text += '\n';
  }
  text += fmt::format("{}{:<18}{:>10.3f} {:>6.1f} %{}\n", style.dim, "not attributed",
                      report.unattributed_milliseconds(), report.unattributed_share() * 100, style.plain);
  return text;
}

std::string format_loading(const telemetry::StageTimes& times) {
  if (times.sum(StagePlace::kLoad) == 0) return {};
  const auto milliseconds = [](std::uint64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-6; };
  return fmt::format("loaded in {:.0f} ms: tokenizer {:.0f}, weights {:.0f}",
                     milliseconds(times.sum(StagePlace::kLoad)), milliseconds(times[Stage::kLoadTokenizer].nanoseconds),
                     milliseconds(times[Stage::kLoadWeights].nanoseconds));
}

json::Object stages_to_json(const StageReport& report) {
  json::Array stages;
  for (const Stage stage : entered(report)) {
    json::Object row{{"stage", telemetry::spec_of(stage).name},
                     {"milliseconds", report.milliseconds(stage)},
                     {"calls", report.calls(stage)}};
    if (is_part_of_time(telemetry::spec_of(stage).place)) row["share"] = report.share(stage);
    if (const double roof = report.share_of_roof(stage); roof > 0) row["share_of_roof"] = roof;
    stages.push_back(std::move(row));
  }
  return {{"unit", report.unit},
          {"units", report.units},
          {"milliseconds", report.milliseconds()},
          {"not_attributed",
           json::Object{{"milliseconds", report.unattributed_milliseconds()}, {"share", report.unattributed_share()}}},
          {"stages", std::move(stages)}};
}

}  // namespace autoglm::app

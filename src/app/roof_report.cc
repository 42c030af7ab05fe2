// SPDX-License-Identifier: Apache-2.0
#include "app/roof_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "app/table_style.h"

namespace autoglm::app {
namespace {

constexpr double kGiga = 1e9;

std::string working_set(std::size_t bytes) {
  constexpr std::size_t kMebi = std::size_t{1} << 20;
  return bytes % (kMebi << 10) == 0 ? fmt::format("{} GiB", bytes / (kMebi << 10))
                                    : fmt::format("{} MiB", bytes / kMebi);
}

// One table: a label, a figure for each thread count, a bar for the last.
class RateTable final {
 public:
  RateTable(std::string title, const std::vector<int>& threads, const Palette& colours)
      : colours_(colours), text_(fmt::format("{}{:<16}", colours.bold, title)) {
    for (const int count : threads)
      text_ += fmt::format(" {:>11}", count_of(static_cast<std::size_t>(count), "thread"));
    text_ += fmt::format("{}\n", colours.plain);
  }

  void add(std::string label, const std::vector<double>& rates) { rows_.push_back({std::move(label), &rates}); }

  std::string finish(int decimals) {
    double best = 0;
    for (const Row& row : rows_) best = std::max(best, row.rates->back());
    for (const Row& row : rows_) {
      text_ += fmt::format("{:<16}", row.label);
      for (const double rate : *row.rates) text_ += fmt::format(" {:>11.{}f}", rate / kGiga, decimals);
      const double share = best > 0 ? row.rates->back() / best : 0;
      text_ += fmt::format("  {}{}{}\n", colours_.bar, share_bar(share), colours_.plain);
    }
    return std::move(text_);
  }

 private:
  struct Row {
    std::string label;
    const std::vector<double>* rates;
  };
  const Palette& colours_;
  std::string text_;
  std::vector<Row> rows_;
};

template <typename T>
json::Array array_of(const std::vector<T>& values) {
  json::Array array;
  for (const T& value : values) array.emplace_back(value);
  return array;
}

}  // namespace

std::vector<int> thread_steps(int threads) {
  std::vector<int> steps;
  for (int count = 1; count < threads; count *= 2) steps.push_back(count);
  steps.push_back(threads);
  return steps;
}

std::string format_roof(const RoofReport& report, bool with_colour) {
  const Palette& colours = palette(with_colour);
  std::string text = fmt::format("{}{}{}\n\n", colours.bold, report.processor, colours.plain);
  RateTable reads("read, GB/s", report.threads, colours);
  for (const ReadRates& row : report.reads) reads.add(working_set(row.bytes), row.bytes_per_second);
  text += reads.finish(1) + "\n";
  RateTable macs("GMAC/s", report.threads, colours);
  for (const MacRates& row : report.macs) {
    macs.add(fmt::format("{:<7} {}", kernels::isa_name(row.isa), kernels::arithmetic_name(row.arithmetic)),
             row.macs_per_second);
  }
  text += macs.finish(0);
  for (const Skipped& skipped : report.skipped) {
    text += fmt::format("{}skipped {}: {}{}\n", colours.dim, skipped.what, skipped.why, colours.plain);
  }
  return text;
}

json::Object to_json(const RoofReport& report) {
  json::Array reads, macs, skipped;
  for (const ReadRates& row : report.reads) {
    reads.push_back(json::Object{{"bytes", row.bytes}, {"bytes_per_second", array_of(row.bytes_per_second)}});
  }
  for (const MacRates& row : report.macs) {
    macs.push_back(json::Object{{"isa", kernels::isa_name(row.isa)},
                                {"arithmetic", kernels::arithmetic_name(row.arithmetic)},
                                {"macs_per_second", array_of(row.macs_per_second)}});
  }
  for (const Skipped& row : report.skipped) skipped.push_back(json::Object{{"what", row.what}, {"why", row.why}});
  return {{"processor", report.processor}, {"version", report.version}, {"threads", array_of(report.threads)},
          {"read", std::move(reads)},      {"macs", std::move(macs)},   {"skipped", std::move(skipped)}};
}

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
#include "app/headline_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/table_style.h"
#include "app/terminal.h"

namespace autoglm::app {
namespace {

double milliseconds(double seconds) { return seconds * 1e3; }

std::string format_row(const HeadlineReport& report, const HeadlineRow& row, const Palette& colours) {
  const HeadlineRow& first = report.rows.front();
  double best = 0;
  for (const HeadlineRow& other : report.rows) best = std::max(best, rate_ratio(first, other));
  const double times = rate_ratio(first, row);
  return fmt::format("{:<16} {:<14} {:<7} {}{:>9.0f}{} {:>9.0f} {:>9.0f} {:>11.2f} {:>9}  {}{}{} {:>5.1f}x\n",
                     row.weights, row.batching, row.compute, colours.bold, milliseconds(row.load.mean()), colours.plain,
                     milliseconds(row.load.percentile(0.5)), milliseconds(row.load.percentile(0.99)),
                     row.load.requests_per_second(), format_bytes(row.resident_bytes), colours.bar,
                     share_bar(best > 0 ? times / best : 0), colours.plain, times);
}

}  // namespace

double latency_ratio(const HeadlineRow& first, const HeadlineRow& row) {
  return row.load.mean() > 0 ? first.load.mean() / row.load.mean() : 0;
}

double rate_ratio(const HeadlineRow& first, const HeadlineRow& row) {
  const double base = first.load.requests_per_second();
  return base > 0 ? row.load.requests_per_second() / base : 0;
}

std::string format_headline(const HeadlineReport& report, bool with_colour) {
  const Palette& colours = palette(with_colour);
  const LoadPlan& plan = report.plan;
  std::string text = fmt::format("{}{}{}  {}, {}, {}\n", colours.bold, report.model, colours.plain, report.architecture,
                                 report.isa, count_of(static_cast<std::size_t>(report.threads), "thread"));
  text += fmt::format("{}{}; {}, {} tokens in and {} out, {} each that count{}\n\n", colours.dim, report.processor,
                      count_of(plan.clients, "client"), plan.prompt_tokens, plan.answer_tokens,
                      count_of(plan.requests, "request"), colours.plain);
  text += fmt::format("{}{:<16} {:<14} {:<7} {:>9} {:>9} {:>9} {:>11} {:>9}  {}{}\n", colours.bold, "weights",
                      "requests", "compute", "mean ms", "p50", "p99", "requests/s", "memory",
                      "requests/s beside the first", colours.plain);
  for (const HeadlineRow& row : report.rows) text += format_row(report, row, colours);
  const HeadlineRow& first = report.rows.front();
  const HeadlineRow& last = report.rows.back();
  const bool is_reached = std::min(latency_ratio(first, last), rate_ratio(first, last)) >= kHeadlineTarget;
  text += fmt::format(
      "\nfirst to last: {:.0f} -> {:.0f} ms ({:.1f}x), {:.2f} -> {:.2f} requests/s ({:.1f}x); {:.0f}x for both is {}\n",
      milliseconds(first.load.mean()), milliseconds(last.load.mean()), latency_ratio(first, last),
      first.load.requests_per_second(), last.load.requests_per_second(), rate_ratio(first, last), kHeadlineTarget,
      is_reached ? "reached" : "not reached");
  return text;
}

json::Object to_json(const HeadlineReport& report) {
  json::Array rows;
  for (const HeadlineRow& row : report.rows) {
    json::Array seconds;
    for (const double one : row.load.seconds) seconds.emplace_back(one);
    rows.push_back(json::Object{{"weights", row.weights},
                                {"batching", row.batching},
                                {"compute", row.compute},
                                {"resident_bytes", row.resident_bytes},
                                {"mean_ms", milliseconds(row.load.mean())},
                                {"p50_ms", milliseconds(row.load.percentile(0.5))},
                                {"p99_ms", milliseconds(row.load.percentile(0.99))},
                                {"requests_per_second", row.load.requests_per_second()},
                                {"seconds", std::move(seconds)}});
  }
  return {{"model", report.model},
          {"architecture", report.architecture},
          {"version", report.version},
          {"machine", json::Object{{"processor", report.processor}, {"isa", report.isa}, {"threads", report.threads}}},
          {"clients", report.plan.clients},
          {"requests", report.plan.requests},
          {"prompt_tokens", report.plan.prompt_tokens},
          {"answer_tokens", report.plan.answer_tokens},
          {"rows", std::move(rows)},
          {"latency_ratio", latency_ratio(report.rows.front(), report.rows.back())},
          {"requests_per_second_ratio", rate_ratio(report.rows.front(), report.rows.back())},
          {"target", kHeadlineTarget}};
}

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
#include "app/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "app/table_style.h"

namespace autoglm::app {
namespace {

double share_of_roof(const BenchReport& report, const BenchResult& result) {
  const double limit = limit_tokens_per_second(report, result);
  return limit > 0 ? result.median() / limit : 0;
}

double seconds_of(const double (&macs)[std::size(kernels::kArithmetics)], const kernels::Roof& roof) {
  double seconds = 0;
  for (const kernels::Arithmetic arithmetic : kernels::kArithmetics) {
    const double count = macs[static_cast<std::size_t>(arithmetic)];
    if (count > 0) seconds += count / roof.macs_per_second(arithmetic);
  }
  return seconds;
}

// The roofs that the model's layers run under.
std::string format_macs(const BenchReport& report) {
  std::string text;
  for (const kernels::Arithmetic arithmetic : kernels::kArithmetics) {
    const auto index = static_cast<std::size_t>(arithmetic);
    if (report.cost.layer_macs[index] + report.cost.head_macs[index] <= 0) continue;
    text += fmt::format("{:.0f} {} GMAC/s, ", report.roof.macs_per_second(arithmetic) * 1e-9,
                        kernels::arithmetic_name(arithmetic));
  }
  return text;
}

}  // namespace

double TokenCost::kv_bytes(double context) const {
  return kv_bytes_per_token * context + sliding_kv_bytes_per_token * std::min(context, sliding_window);
}

TokenCost token_cost(const model::ModelFacts& facts) {
  TokenCost cost;
  for (const model::LinearFacts& linear : facts.linear) {
    double* const macs = linear.is_head ? cost.head_macs : cost.layer_macs;
    macs[static_cast<std::size_t>(linear.arithmetic)] += static_cast<double>(linear.weights);
    cost.weight_bytes += static_cast<double>(linear.bytes);
  }
  if (facts.layers == 0) return cost;
  const double layer_bytes = static_cast<double>(facts.kv_bytes_per_token) / static_cast<double>(facts.layers);
  cost.sliding_kv_bytes_per_token = layer_bytes * static_cast<double>(facts.sliding_layers);
  cost.kv_bytes_per_token = static_cast<double>(facts.kv_bytes_per_token) - cost.sliding_kv_bytes_per_token;
  cost.sliding_window = static_cast<double>(facts.sliding_window);
  return cost;
}

double limit_tokens_per_second(const BenchReport& report, const BenchResult& result) {
  const TokenCost& cost = report.cost;
  if (!cost.is_known() || report.roof.read_bytes_per_second <= 0) return 0;
  const double layer_seconds = seconds_of(cost.layer_macs, report.roof);
  const double head_seconds = seconds_of(cost.head_macs, report.roof);
  const auto tokens = static_cast<double>(result.tokens);
  if (result.kind == BenchKind::kPrefill) return tokens / (tokens * layer_seconds + head_seconds);
  const auto batch = static_cast<double>(result.batch);
  const double context = static_cast<double>(report.depth) + (tokens + 1) / 2;  // of the step in the middle
  const double bytes = cost.weight_bytes + batch * cost.kv_bytes(context);
  return batch / std::max(bytes / report.roof.read_bytes_per_second, batch * (layer_seconds + head_seconds));
}

std::string format_table(const BenchReport& report, bool with_colour) {
  const Palette& colours = palette(with_colour);
  std::string text = fmt::format("{}{}{}  {}, {}, KV in {}, {}, {}\n", colours.bold, report.model, colours.plain,
                                 report.architecture, report.compute, report.kv_type, report.isa,
                                 count_of(static_cast<std::size_t>(report.threads), "thread"));
  text +=
      fmt::format("{}{}; roof: {}{:.1f} GB/s read; loaded in {:.1f} s{}\n\n", colours.dim, report.processor,
                  format_macs(report), report.roof.read_bytes_per_second * 1e-9, report.load_seconds, colours.plain);
  text += fmt::format("{}{:<8} {:>5} {:>7} {:>11} {:>19} {:>9}  {}{}\n", colours.bold, "", "batch", "tokens",
                      "tokens/s", "worst .. best", "limit", "share of roof", colours.plain);
  for (const BenchResult& result : report.results) {
    const double share = share_of_roof(report, result);
    const std::string spread = fmt::format("{:.1f} .. {:.1f}", result.worst(), result.best());
    text += fmt::format("{:<8} {:>5} {:>7} {}{:>11.1f}{} {:>19} {:>9.0f}  {}{}{} {:>3.0f} %\n",
                        bench_kind_name(result.kind), result.batch, result.tokens, colours.bold, result.median(),
                        colours.plain, spread, limit_tokens_per_second(report, result), colours.bar, share_bar(share),
                        colours.plain, share * 100);
  }
  return text;
}

json::Object to_json(const BenchReport& report) {
  json::Array results;
  for (const BenchResult& result : report.results) {
    json::Array rounds;
    for (const double rate : result.tokens_per_second) rounds.emplace_back(rate);
    results.push_back(json::Object{{"kind", bench_kind_name(result.kind)},
                                   {"batch", result.batch},
                                   {"tokens", result.tokens},
                                   {"tokens_per_second", result.median()},
                                   {"rounds", std::move(rounds)},
                                   {"limit_tokens_per_second", limit_tokens_per_second(report, result)},
                                   {"share_of_roof", share_of_roof(report, result)}});
  }
  return {{"model", report.model},
          {"architecture", report.architecture},
          {"version", report.version},
          {"compute", report.compute},
          {"kv_type", report.kv_type},
          {"depth", report.depth},
          {"load_seconds", report.load_seconds},
          {"machine", json::Object{{"processor", report.processor}, {"isa", report.isa}, {"threads", report.threads}}},
          {"roof", json::Object{{"int8_macs_per_second", report.roof.int8_macs_per_second},
                                {"bf16_macs_per_second", report.roof.bf16_macs_per_second},
                                {"f32_macs_per_second", report.roof.f32_macs_per_second},
                                {"read_bytes_per_second", report.roof.read_bytes_per_second}}},
          {"results", std::move(results)}};
}

}  // namespace autoglm::app

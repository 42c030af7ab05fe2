// SPDX-License-Identifier: Apache-2.0
#include "app/bench_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/table_style.h"

namespace autoglm::app {
namespace {

constexpr int kBarCells = 20;

double share_of_roof(const BenchReport& report, const BenchResult& result) {
  const double limit = limit_tokens_per_second(report, result);
  return limit > 0 ? result.median() / limit : 0;
}

}  // namespace

TokenCost token_cost(const model::ModelFacts& facts) {
  const auto parameters = static_cast<double>(facts.parameters);
  const double table = static_cast<double>(facts.vocab) * static_cast<double>(facts.hidden);
  const double looked_up = facts.has_tied_head ? 0 : table;
  if (parameters <= looked_up + table) return {};
  double bytes = 0;
  for (const model::TypeFacts& type : facts.types) bytes += static_cast<double>(type.bytes);
  const double read = parameters - looked_up;
  return {.prefill_macs = read - table, .decode_macs = read, .weight_bytes = bytes * read / parameters};
}

double limit_tokens_per_second(const BenchReport& report, const BenchResult& result) {
  const TokenCost& cost = report.cost;
  const kernels::Roof& roof = report.roof;
  if (cost.decode_macs <= 0 || roof.int8_macs_per_second <= 0 || roof.read_bytes_per_second <= 0) return 0;
  if (result.kind == BenchKind::kPrefill) return roof.int8_macs_per_second / cost.prefill_macs;
  const double by_bytes = static_cast<double>(result.batch) * roof.read_bytes_per_second / cost.weight_bytes;
  return std::min(by_bytes, roof.int8_macs_per_second / cost.decode_macs);
}

std::string format_table(const BenchReport& report, bool with_colour) {
  const Palette& palette = palette_of(with_colour);
  std::string text = fmt::format("{}{}{}  {}, {}, KV in {}, {}, {} thread{}\n", palette.bold, report.model,
                                 palette.plain, report.architecture, report.compute, report.kv_type, report.isa,
                                 report.threads, report.threads == 1 ? "" : "s");
  text += fmt::format("{}{}; roof: {:.0f} int8 GMAC/s, {:.1f} GB/s read; loaded in {:.1f} s{}\n\n", palette.dim,
                      report.processor, report.roof.int8_macs_per_second * 1e-9,
                      report.roof.read_bytes_per_second * 1e-9, report.load_seconds, palette.plain);
  text += fmt::format("{}{:<8} {:>5} {:>7} {:>11} {:>19} {:>9}  {}{}\n", palette.bold, "", "batch", "tokens",
                      "tokens/s", "worst .. best", "limit", "share of roof", palette.plain);
  for (const BenchResult& result : report.results) {
    const double share = share_of_roof(report, result);
    const std::string spread = fmt::format("{:.1f} .. {:.1f}", result.worst(), result.best());
    text += fmt::format("{:<8} {:>5} {:>7} {}{:>11.1f}{} {:>19} {:>9.0f}  {}{}{} {:>3.0f} %\n",
                        bench_kind_name(result.kind), result.batch, result.tokens, palette.bold, result.median(),
                        palette.plain, spread, limit_tokens_per_second(report, result), palette.bar,
                        bar(share, kBarCells), palette.plain, share * 100);
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
                                {"read_bytes_per_second", report.roof.read_bytes_per_second}}},
          {"results", std::move(results)}};
}

}  // namespace autoglm::app

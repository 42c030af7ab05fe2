// SPDX-License-Identifier: Apache-2.0
#include "app/embed_report.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"

namespace autoglm::app {

double rate_gain(const EmbedReport& report) {
  CHECK(report.rows.size() >= 2);
  const auto last = report.rows.end() - 1;
  return last->load.requests_per_second() / (last - 1)->load.requests_per_second();
}

double latency_share(const EmbedReport& report) {
  CHECK(report.rows.size() >= 2);
  const auto last = report.rows.end() - 1;
  return last->load.mean() / (last - 1)->load.mean();
}

std::string format_embed(const EmbedReport& report) {
  std::string text = fmt::format(
      "{} ({}), texts of {} tokens, {} of each client\n{}, {}, {}, {} thread{}\n\n"
      "clients  batch   texts/s   mean ms    p50 ms    p99 ms\n",
      report.model, report.architecture, report.tokens, report.requests, report.processor, report.isa, report.compute,
      report.threads, report.threads == 1 ? "" : "s");
  for (const EmbedRow& row : report.rows) {
    text += fmt::format("{:>7} {:>6} {:>9.1f} {:>9.2f} {:>9.2f} {:>9.2f}\n", row.clients, row.max_batch_size,
                        row.load.requests_per_second(), row.load.mean() * 1e3, row.load.percentile(0.5) * 1e3,
                        row.load.percentile(0.99) * 1e3);
  }
  return text + fmt::format("\nbatched, against one by one: {:.2f} x the texts a second, {:.2f} x the mean latency\n",
                            rate_gain(report), latency_share(report));
}

json::Object to_json(const EmbedReport& report) {
  json::Array rows;
  for (const EmbedRow& row : report.rows) {
    rows.push_back(json::Object{{"clients", row.clients},
                                {"max_batch_size", row.max_batch_size},
                                {"texts_per_second", row.load.requests_per_second()},
                                {"mean_ms", row.load.mean() * 1e3},
                                {"p50_ms", row.load.percentile(0.5) * 1e3},
                                {"p99_ms", row.load.percentile(0.99) * 1e3}});
  }
  return {{"model", report.model},
          {"architecture", report.architecture},
          {"tokens", report.tokens},
          {"requests", report.requests},
          {"batch_timeout_ms", report.batch_timeout_ms},
          {"rows", std::move(rows)},
          {"rate_gain", rate_gain(report)},
          {"latency_share", latency_share(report)},
          {"machine", json::Object{{"processor", report.processor},
                                   {"isa", report.isa},
                                   {"compute", report.compute},
                                   {"threads", report.threads}}},
          {"version", report.version}};
}

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
// docs/guides/api.md and docs/metrics.md say what the code's tables say: routes, parameters, limits, codes, metrics.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "generation/validate.h"
#include "protocol/openai_error.h"
#include "protocol/openai_request.h"
#include "server/routes.h"
#include "telemetry/metrics.h"

namespace autoglm::server {
namespace {

using testing::HasSubstr;

std::string read_document(const std::string& path) {
  std::ifstream file(std::string(TESTDATA_DIR) + "/../../docs/" + path);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string section(const std::string& document, const std::string& title) {
  const auto begin = document.find("\n## " + title + "\n");
  EXPECT_NE(begin, std::string::npos) << title;
  return begin == std::string::npos ? "" : document.substr(begin, document.find("\n## ", begin + 1) - begin);
}

// Rows of tables: a heading and a ruler for each are not counted.
std::ptrdiff_t rows_of(const std::string& text) {
  std::ptrdiff_t rows = 0;
  for (auto at = text.find("\n| "); at != std::string::npos; at = text.find("\n| ", at + 1)) ++rows;
  for (auto at = text.find("\n|---"); at != std::string::npos; at = text.find("\n|---", at + 1)) --rows;
  return rows;
}

TEST(ApiGuide, ListsEveryRoute) {
  const std::string routes = section(read_document("guides/api.md"), "Routes");
  for (const Route& route : all_routes()) {
    EXPECT_THAT(routes, HasSubstr(fmt::format("| `{} {}` | {}", route.method, route.path, route.summary)));
  }
  EXPECT_EQ(rows_of(routes), std::ssize(all_routes()));
}

TEST(ApiGuide, ListsEveryParameter) {
  const std::string parameters = section(read_document("guides/api.md"), "Parameters");
  for (const auto& list :
       {protocol::chat_parameters(), protocol::completion_parameters(), protocol::harmless_parameters()}) {
    for (std::string_view name : list) EXPECT_THAT(parameters, HasSubstr(fmt::format("`{}`", name)));
  }
}

TEST(ApiGuide, ListsEveryLimit) {
  const std::string limits = section(read_document("guides/api.md"), "Limits");
  for (const protocol::Limit& limit : protocol::all_limits()) {
    EXPECT_THAT(limits, HasSubstr(fmt::format("| `{}` | {} |", limit.field, static_cast<std::int64_t>(limit.bound))));
  }
  EXPECT_EQ(rows_of(limits), std::ssize(protocol::all_limits()));
}

TEST(ApiGuide, ListsEveryErrorCode) {
  const std::string errors = section(read_document("guides/api.md"), "Errors");
  for (const protocol::ErrorRow& row : protocol::all_errors()) {
    EXPECT_THAT(errors, HasSubstr(fmt::format("| `{}` | {} |", code_name(row.code), row.status)));
  }
  EXPECT_EQ(rows_of(errors), std::ssize(protocol::all_errors()));
}

TEST(MetricsPage, ListsEveryMetric) {
  const std::string page = read_document("metrics.md");
  static constexpr std::string_view kKinds[] = {"counter", "gauge", "histogram"};
  for (const telemetry::MetricSpec& spec : telemetry::all_metrics()) {
    const std::string label = spec.label.empty() ? "" : fmt::format("`{}`", spec.label);
    EXPECT_THAT(page, HasSubstr(fmt::format("| `{}` | {} | {} | {} |", spec.name,
                                            kKinds[static_cast<std::size_t>(spec.kind)], label, spec.help)));
  }
  EXPECT_EQ(rows_of(page), std::ssize(telemetry::all_metrics()));
}

// Two floors that do not know each other bound the same fields.
TEST(Limits, OfTheWireAreThoseOfTheEngine) {
  EXPECT_EQ(static_cast<float>(protocol::kMaxTemperature), generation::kMaxTemperature);
  EXPECT_EQ(static_cast<float>(protocol::kMaxOccurrencePenalty), generation::kMaxOccurrencePenalty);
  EXPECT_EQ(static_cast<float>(protocol::kMaxRepetitionPenalty), generation::kMaxRepetitionPenalty);
  EXPECT_EQ(static_cast<float>(protocol::kMaxLogitBiasValue), generation::kMaxLogitBias);
  EXPECT_EQ(protocol::kMaxLogitBias, generation::kMaxLogitBiasEntries);
  EXPECT_EQ(protocol::kMaxStops, generation::kMaxStopStrings);
  EXPECT_EQ(protocol::kMaxStopBytes, generation::kMaxStopStringBytes);
  EXPECT_EQ(protocol::kMaxStopTokens, generation::kMaxStopTokens);
  EXPECT_EQ(protocol::kMaxTopLogprobs, generation::kMaxTopLogprobs);
}

}  // namespace
}  // namespace autoglm::server

// SPDX-License-Identifier: Apache-2.0
#include "app/headline_report.h"

#include <gtest/gtest.h>

namespace autoglm::app {
namespace {

// Two requests a row: 1.2 s beside 0.3 s, and as many a second.
HeadlineReport headline(double last_span_seconds = 0.06) {
  HeadlineReport report;
  report.model = "tiny";
  report.threads = 2;
  report.plan = {.clients = 10, .requests = 1, .prompt_tokens = 128, .answer_tokens = 64};
  report.rows = {{.weights = "F32",
                  .batching = "one at a time",
                  .compute = "exact",
                  .resident_bytes = 540'000'000,
                  .load = {.seconds = {1.1, 1.3}, .span_seconds = 0.24}},
                 {.weights = "Q8_0 as stored",
                  .batching = "batched",
                  .compute = "fast",
                  .resident_bytes = 140'000'000,
                  .load = {.seconds = {0.3, 0.3}, .span_seconds = last_span_seconds}}};
  return report;
}

TEST(HeadlineReport, RatiosAreAboveOneWhereTheLastIsBetter) {
  const HeadlineReport r = headline();
  EXPECT_DOUBLE_EQ(latency_ratio(r.rows[0], r.rows[1]), 4);
  EXPECT_DOUBLE_EQ(rate_ratio(r.rows[0], r.rows[1]), 4);
  EXPECT_DOUBLE_EQ(rate_ratio(r.rows[0], r.rows[0]), 1);
  EXPECT_EQ(latency_ratio(r.rows[0], {}), 0);
}

TEST(HeadlineReport, BothRatiosHaveToReachTheTarget) {
  const std::string text = format_headline(headline(), false);
  EXPECT_NE(text.find("1200 -> 300 ms (4.0x), 8.33 -> 33.33 requests/s (4.0x); 4x for both is reached"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_NE(format_headline(headline(0.07), false).find("4x for both is not reached"), std::string::npos);
  EXPECT_NE(format_headline(headline(), true).find('\x1b'), std::string::npos);
}

TEST(HeadlineReport, JsonHasEveryRowAndTheRatios) {
  const json::Object object = to_json(headline());
  const json::Value& row = object.at("rows").as_array()[0];
  EXPECT_EQ(row.at("weights").as_string(), "F32");
  EXPECT_DOUBLE_EQ(row.at("mean_ms").to_number<double>(), 1200);
  EXPECT_DOUBLE_EQ(row.at("p99_ms").to_number<double>(), 1300);
  EXPECT_EQ(row.at("seconds").as_array().size(), 2u);
  EXPECT_DOUBLE_EQ(object.at("requests_per_second_ratio").to_number<double>(), 4);
  EXPECT_EQ(object.at("clients").to_number<int>(), 10);
}

}  // namespace
}  // namespace autoglm::app

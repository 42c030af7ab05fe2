// SPDX-License-Identifier: Apache-2.0
#include "app/embed_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace autoglm::app {
namespace {

EmbedReport three_rows() {
  EmbedReport report{.model = "m",
                     .architecture = "bert",
                     .processor = "p",
                     .isa = "avx2",
                     .compute = "fast",
                     .version = "1",
                     .threads = 2,
                     .tokens = 16,
                     .requests = 2,
                     .batch_timeout_ms = 50,
                     .rows = {}};
  report.rows.push_back(
      {.clients = 1, .max_batch_size = 1, .load = {.seconds = {0.002, 0.002}, .span_seconds = 0.004}});
  report.rows.push_back(
      {.clients = 2, .max_batch_size = 1, .load = {.seconds = {0.004, 0.004}, .span_seconds = 0.004}});
  report.rows.push_back(
      {.clients = 2, .max_batch_size = 2, .load = {.seconds = {0.001, 0.001}, .span_seconds = 0.001}});
  return report;
}

TEST(EmbedReport, TheLastRowIsHeldAgainstTheOneBefore) {
  EXPECT_DOUBLE_EQ(rate_gain(three_rows()), 4);
  EXPECT_DOUBLE_EQ(latency_share(three_rows()), 0.25);
}

TEST(EmbedReport, SaysTheFigures) {
  const std::string text = format_embed(three_rows());
  EXPECT_THAT(text, testing::HasSubstr("      1      1     500.0      2.00"));
  EXPECT_THAT(text, testing::HasSubstr("4.00 x the texts a second, 0.25 x the mean latency"));
  const json::Object object = to_json(three_rows());
  EXPECT_EQ(object.at("rows").as_array().size(), 3u);
  EXPECT_DOUBLE_EQ(object.at("rows").at(2).at("texts_per_second").as_double(), 2000);
}

}  // namespace
}  // namespace autoglm::app

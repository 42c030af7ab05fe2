// SPDX-License-Identifier: Apache-2.0
#include "app/bench_report.h"

#include <gtest/gtest.h>

namespace autoglm::app {
namespace {

// 1,000,000 weights of which the tied table of 100 * 1000 is the head too, one byte each.
model::ModelFacts facts(bool has_tied_head) {
  model::ModelFacts facts;
  facts.parameters = 1'000'000;
  facts.vocab = 1000;
  facts.hidden = 100;
  facts.has_tied_head = has_tied_head;
  facts.types = {{.type = "Q8_0", .tensors = 1, .elements = 1'000'000, .bytes = 1'000'000}};
  return facts;
}

BenchReport report() {
  BenchReport report;
  report.model = "tiny";
  report.architecture = "llama";
  report.isa = "avx2";
  report.compute = "fast";
  report.kv_type = "int8";
  report.threads = 2;
  report.roof = {.int8_macs_per_second = 9e9, .read_bytes_per_second = 1e9};
  report.cost = token_cost(facts(true));
  report.results = {{.kind = BenchKind::kPrefill, .batch = 1, .tokens = 512, .tokens_per_second = {5000, 4000, 6000}},
                    {.kind = BenchKind::kDecode, .batch = 1, .tokens = 128, .tokens_per_second = {500}},
                    {.kind = BenchKind::kDecode, .batch = 32, .tokens = 128, .tokens_per_second = {9000}}};
  return report;
}

TEST(BenchReport, CostLeavesOutATableThatIsOnlyLookedUp) {
  const TokenCost tied = token_cost(facts(true));
  EXPECT_DOUBLE_EQ(tied.prefill_macs, 900'000);
  EXPECT_DOUBLE_EQ(tied.decode_macs, 1'000'000);
  EXPECT_DOUBLE_EQ(tied.weight_bytes, 1'000'000);
  const TokenCost untied = token_cost(facts(false));
  EXPECT_DOUBLE_EQ(untied.prefill_macs, 800'000);
  EXPECT_DOUBLE_EQ(untied.decode_macs, 900'000);
  EXPECT_DOUBLE_EQ(untied.weight_bytes, 900'000);
}

TEST(BenchReport, CostOfUnknownSizesIsNothing) {
  EXPECT_EQ(token_cost({}).decode_macs, 0);
  BenchReport unknown = report();
  unknown.cost = {};
  EXPECT_EQ(limit_tokens_per_second(unknown, unknown.results[0]), 0);
}

TEST(BenchReport, LimitIsTheTighterOfBytesAndMultiplyAdds) {
  const BenchReport r = report();
  EXPECT_DOUBLE_EQ(limit_tokens_per_second(r, r.results[0]), 10'000);  // 9e9 / 900,000
  EXPECT_DOUBLE_EQ(limit_tokens_per_second(r, r.results[1]), 1'000);   // 1e9 / 1,000,000
  EXPECT_DOUBLE_EQ(limit_tokens_per_second(r, r.results[2]), 9'000);   // 32 share the bytes: 9e9 / 1,000,000
}

TEST(BenchReport, JsonHasOneResultForEachMeasurement) {
  const json::Object object = to_json(report());
  const json::Array& results = object.at("results").as_array();
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[0].at("kind").as_string(), "prefill");
  EXPECT_EQ(results[0].at("batch").to_number<int>(), 1);
  EXPECT_DOUBLE_EQ(results[0].at("tokens_per_second").to_number<double>(), 5000);
  EXPECT_DOUBLE_EQ(results[0].at("share_of_roof").to_number<double>(), 0.5);
  EXPECT_EQ(results[2].at("kind").as_string(), "decode");
  EXPECT_EQ(results[2].at("batch").to_number<int>(), 32);
  EXPECT_DOUBLE_EQ(object.at("roof").at("read_bytes_per_second").to_number<double>(), 1e9);
}

TEST(BenchReport, ColoursOnlyWhenAskedFor) {
  EXPECT_EQ(format_table(report(), false).find('\x1b'), std::string::npos);
  EXPECT_NE(format_table(report(), true).find('\x1b'), std::string::npos);
  EXPECT_NE(format_table(report(), false).find(" 50 %"), std::string::npos);
}

}  // namespace
}  // namespace autoglm::app

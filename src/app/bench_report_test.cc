// SPDX-License-Identifier: Apache-2.0
#include "app/bench_report.h"

#include <gtest/gtest.h>

namespace autoglm::app {
namespace {

// 900,000 weights in layers and 100,000 in the head, one byte each, two layers with 50 bytes of KV each.
model::ModelFacts facts() {
  model::ModelFacts facts;
  facts.layers = 2;
  facts.kv_bytes_per_token = 100;
  facts.linear = {{.arithmetic = kernels::Arithmetic::kInt8, .is_head = false, .weights = 900'000, .bytes = 900'000},
                  {.arithmetic = kernels::Arithmetic::kInt8, .is_head = true, .weights = 100'000, .bytes = 100'000}};
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
  report.roof = {.int8_macs_per_second = 9e9,
                 .bf16_macs_per_second = 4e9,
                 .f32_macs_per_second = 3e9,
                 .read_bytes_per_second = 1e9};
  report.cost = token_cost(facts());
  report.results = {{.kind = BenchKind::kPrefill, .batch = 1, .tokens = 500, .tokens_per_second = {5000, 4000, 6000}},
                    {.kind = BenchKind::kDecode, .batch = 1, .tokens = 128, .tokens_per_second = {500}},
                    {.kind = BenchKind::kDecode, .batch = 32, .tokens = 128, .tokens_per_second = {9000}}};
  return report;
}

TEST(BenchReport, CostKeepsTheHeadAndEachArithmeticApart) {
  model::ModelFacts mixed = facts();
  mixed.linear.push_back({.arithmetic = kernels::Arithmetic::kF32, .is_head = false, .weights = 7, .bytes = 28});
  const TokenCost cost = token_cost(mixed);
  EXPECT_EQ(cost.layer_macs[static_cast<std::size_t>(kernels::Arithmetic::kInt8)], 900'000);
  EXPECT_EQ(cost.layer_macs[static_cast<std::size_t>(kernels::Arithmetic::kF32)], 7);
  EXPECT_EQ(cost.head_macs[static_cast<std::size_t>(kernels::Arithmetic::kInt8)], 100'000);
  EXPECT_EQ(cost.weight_bytes, 1'000'028);
}

TEST(BenchReport, ASlidingLayerReadsNoMoreKvThanItsWindow) {
  model::ModelFacts sliding = facts();
  sliding.sliding_layers = 1;
  sliding.sliding_window = 10;
  const TokenCost cost = token_cost(sliding);
  EXPECT_EQ(cost.kv_bytes(8), 800);
  EXPECT_EQ(cost.kv_bytes(100), 50 * 100 + 50 * 10);
  EXPECT_EQ(token_cost(facts()).kv_bytes(100), 10'000);
}

TEST(BenchReport, CostOfUnknownSizesIsNothing) {
  EXPECT_FALSE(token_cost({}).is_known());
  BenchReport unknown = report();
  unknown.cost = {};
  EXPECT_EQ(limit_tokens_per_second(unknown, unknown.results[0]), 0);
}

TEST(BenchReport, APromptNeedsTheHeadOnce) {
  const BenchReport r = report();
  EXPECT_DOUBLE_EQ(limit_tokens_per_second(r, r.results[0]), 500 * 9e9 / (500 * 900'000.0 + 100'000));
}

TEST(BenchReport, DecodeIsHeldByTheTighterOfBytesAndMultiplyAdds) {
  BenchReport r = report();
  r.cost.kv_bytes_per_token = 0;
  EXPECT_DOUBLE_EQ(limit_tokens_per_second(r, r.results[1]), 1'000);  // 1e9 / 1,000,000
  EXPECT_DOUBLE_EQ(limit_tokens_per_second(r, r.results[2]), 9'000);  // 32 share the bytes: 9e9 / 1,000,000
}

TEST(BenchReport, EverySequenceReadsItsOwnKv) {
  BenchReport r = report();
  r.results[1].tokens = 1;
  r.depth = 9'999;  // and the step's own token: 10,000 of 100 bytes, as much as the weights
  EXPECT_DOUBLE_EQ(limit_tokens_per_second(r, r.results[1]), 500);
  r.results[1].batch = 4;
  EXPECT_DOUBLE_EQ(limit_tokens_per_second(r, r.results[1]), 800);  // 4 of 5 MB a step
}

TEST(BenchReport, TheRoofIsThatOfTheArithmeticInUse) {
  BenchReport r = report();
  model::ModelFacts plain = facts();
  for (model::LinearFacts& linear : plain.linear) linear.arithmetic = kernels::Arithmetic::kF32;
  r.cost = token_cost(plain);
  EXPECT_DOUBLE_EQ(limit_tokens_per_second(r, r.results[0]), 500 * 3e9 / (500 * 900'000.0 + 100'000));
  EXPECT_NE(format_table(r, false).find("roof: 3 f32 GMAC/s, 1.0 GB/s read"), std::string::npos);
}

TEST(BenchReport, JsonHasOneResultForEachMeasurement) {
  const json::Object object = to_json(report());
  const json::Array& results = object.at("results").as_array();
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[0].at("kind").as_string(), "prefill");
  EXPECT_EQ(results[0].at("batch").to_number<int>(), 1);
  EXPECT_DOUBLE_EQ(results[0].at("tokens_per_second").to_number<double>(), 5000);
  EXPECT_NEAR(results[0].at("share_of_roof").to_number<double>(), 0.5, 1e-3);
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

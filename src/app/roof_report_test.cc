// SPDX-License-Identifier: Apache-2.0
#include "app/roof_report.h"

#include <gtest/gtest.h>

namespace autoglm::app {
namespace {

RoofReport roof_example() {
  return {
      .processor = "a processor",
      .version = "1",
      .threads = {1, 2},
      .reads = {{.bytes = std::size_t{8} << 20, .bytes_per_second = {40e9, 80e9}},
                {.bytes = std::size_t{1} << 30, .bytes_per_second = {10e9, 20e9}}},
      .macs = {{.isa = kernels::Isa::kAvx2, .arithmetic = kernels::Arithmetic::kF32, .macs_per_second = {50e9, 100e9}}},
      .skipped = {{.what = "avx512", .why = "this processor lacks it"}}};
}

TEST(RoofReport, ThreadsDoubleUpToAllOfThem) {
  EXPECT_EQ(thread_steps(1), std::vector<int>({1}));
  EXPECT_EQ(thread_steps(2), std::vector<int>({1, 2}));
  EXPECT_EQ(thread_steps(12), std::vector<int>({1, 2, 4, 8, 12}));
  EXPECT_EQ(thread_steps(16), std::vector<int>({1, 2, 4, 8, 16}));
}

TEST(RoofReport, BarsStandForTheLastThreadCountBesideTheBest) {
  const std::string text = format_roof(roof_example(), false);
  EXPECT_NE(text.find("8 MiB                   40.0        80.0  ████████████████████\n"), std::string::npos) << text;
  EXPECT_NE(text.find("1 GiB                   10.0        20.0  █████               \n"), std::string::npos) << text;
  EXPECT_NE(text.find("avx2    f32               50         100"), std::string::npos) << text;
  EXPECT_NE(text.find("skipped avx512: this processor lacks it\n"), std::string::npos) << text;
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_NE(format_roof(roof_example(), true).find('\x1b'), std::string::npos);
}

TEST(RoofReport, JsonHoldsEveryFigureInPlainUnits) {
  const json::Object object = to_json(roof_example());
  EXPECT_EQ(object.at("threads").as_array().size(), 2u);
  const json::Value& read = object.at("read").as_array()[1];
  EXPECT_EQ(read.at("bytes").to_number<std::size_t>(), std::size_t{1} << 30);
  EXPECT_DOUBLE_EQ(read.at("bytes_per_second").as_array()[1].to_number<double>(), 20e9);
  const json::Value& macs = object.at("macs").as_array()[0];
  EXPECT_EQ(macs.at("isa").as_string(), "avx2");
  EXPECT_EQ(macs.at("arithmetic").as_string(), "f32");
  EXPECT_DOUBLE_EQ(macs.at("macs_per_second").as_array()[0].to_number<double>(), 50e9);
  EXPECT_EQ(object.at("skipped").as_array()[0].at("what").as_string(), "avx512");
}

}  // namespace
}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
#include "app/stage_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace autoglm::app {
namespace {

using std::chrono::milliseconds;
using telemetry::Stage;
using testing::HasSubstr;
using testing::Not;

// Two steps of 50 ms, of which attention has 20 and the head 25; the mask worker works beside them for 40.
StageReport stage_report() {
  static const base::VirtualClock clock;
  telemetry::Stages stages(clock);
  for (int step = 0; step < 2; ++step) {
    for (int layer = 0; layer < 4; ++layer) stages.add(Stage::kAttention, milliseconds(5));
    stages.add(Stage::kHead, milliseconds(25));
    stages.add(Stage::kGrammarMask, milliseconds(40));
  }
  stages.add(Stage::kLoadWeights, milliseconds(260));
  stages.add(Stage::kLoadTokenizer, milliseconds(50));
  StageReport report;
  report.title = "decode, 1 sequence";
  report.unit = "step";
  report.units = 2;
  report.seconds = 0.1;
  report.times = stages.read();
  report.least_seconds[static_cast<std::size_t>(Stage::kHead)] = 0.01;
  return report;
}

TEST(StageReport, FiguresAreOfOneUnitAndSharesMakeOne) {
  const StageReport report = stage_report();
  EXPECT_DOUBLE_EQ(report.milliseconds(), 50);
  EXPECT_DOUBLE_EQ(report.milliseconds(Stage::kAttention), 20);
  EXPECT_DOUBLE_EQ(report.calls(Stage::kAttention), 4);
  EXPECT_DOUBLE_EQ(report.share(Stage::kAttention), 0.4);
  EXPECT_DOUBLE_EQ(report.share(Stage::kHead), 0.5);
  EXPECT_NEAR(report.unattributed_milliseconds(), 5, 1e-9);
  EXPECT_NEAR(report.unattributed_share(), 0.1, 1e-9);
  EXPECT_DOUBLE_EQ(report.share_of_roof(Stage::kHead), 0.4);
  EXPECT_EQ(report.share_of_roof(Stage::kAttention), 0);
}

TEST(StageReport, WhatRunsBesideAndWhatWasBeforeHasNoShare) {
  EXPECT_EQ(stage_report().share(Stage::kGrammarMask), 0);
  EXPECT_EQ(stage_report().share(Stage::kLoadWeights), 0);
}

TEST(StageReport, NothingMeasuredIsNoDivisionByZero) {
  const StageReport none;
  EXPECT_EQ(none.share(Stage::kHead), 0);
  EXPECT_EQ(none.unattributed_share(), 0);
  EXPECT_EQ(none.share_of_roof(Stage::kHead), 0);
}

TEST(FormatStages, ShowsWhatWasEntered) {
  const std::string table = format_stages(stage_report(), false);
  EXPECT_THAT(table, HasSubstr("decode, 1 sequence  50.00 ms a step, mean of 2\n"));
  EXPECT_THAT(table, testing::ContainsRegex("attention +20\\.000 +40\\.0 % .* 4\n"));
  EXPECT_THAT(table, testing::ContainsRegex("head +25\\.000 +50\\.0 % .* 1 +40 %\n"));
  EXPECT_THAT(table, testing::ContainsRegex("grammar_mask +40\\.000 +beside"));
  EXPECT_THAT(table, testing::ContainsRegex("not attributed +5\\.000 +10\\.0 %\n"));
  for (const char* absent : {"qkv", "load_weights", "\x1b"}) EXPECT_THAT(table, Not(HasSubstr(absent)));
  EXPECT_THAT(format_stages(stage_report(), true), HasSubstr("\x1b"));
}

TEST(FormatLoading, IsNothingWhenNothingWasLoaded) {
  EXPECT_EQ(format_loading(stage_report().times), "loaded in 310 ms: tokenizer 50, weights 260");
  EXPECT_EQ(format_loading({}), "");
}

TEST(StagesToJson, HasARowForEachStage) {
  const json::Object object = stages_to_json(stage_report());
  EXPECT_EQ(object.at("unit").as_string(), "step");
  EXPECT_EQ(object.at("units").to_number<int>(), 2);
  const json::Array& rows = object.at("stages").as_array();
  ASSERT_EQ(rows.size(), 3u);
  double shares = object.at("not_attributed").at("share").to_number<double>();
  for (const json::Value& row : rows) {
    const std::string name(row.at("stage").as_string());
    EXPECT_EQ(row.as_object().contains("share"), name != "grammar_mask") << name;
    EXPECT_EQ(row.as_object().contains("share_of_roof"), name == "head") << name;
    if (name != "grammar_mask") shares += row.at("share").to_number<double>();
  }
  EXPECT_NEAR(shares, 1, 1e-9);
}

}  // namespace
}  // namespace autoglm::app

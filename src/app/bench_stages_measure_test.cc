// SPDX-License-Identifier: Apache-2.0
// On a tiny checkpoint every stage is counted as often as the plan says, and no more time than has passed.
#include "app/bench_stages_measure.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "kernels/cpu.h"
#include "model/load.h"

namespace autoglm::app {
namespace {

using telemetry::Stage;

class BenchStages : public testing::Test {
 protected:
  void SetUp() override {
    const auto path = std::filesystem::path(TESTDATA_DIR) / "golden" / "tiny" / "qwen2";
    auto loaded =
        model::load_model(path, {.isa = kernels::available_isas().back(), .threads = 1, .stages = &registry_.stages()});
    ASSERT_TRUE(loaded) << loaded.error().message;
    model_.network = std::move(loaded->network);
    model_.card.tokenizer = std::move(loaded->tokenizer);
  }

  auto measured(const StagesPlan& plan) {
    return measure_stages(model_, plan, {.int8_macs_per_second = 1e12, .read_bytes_per_second = 1e12}, registry_,
                          clock_, {});
  }

  static constexpr double kLayers = 3;
  const base::SystemClock clock_;
  telemetry::Registry registry_{clock_};
  engine::EngineModel model_;
};

void expect_a_whole(const StageReport& report) {
  const std::uint64_t counted =
      report.times.sum(telemetry::StagePlace::kCaller) + report.times.sum(telemetry::StagePlace::kStep);
  EXPECT_GT(counted, 0u);
  EXPECT_LE(static_cast<double>(counted) * 1e-9, report.seconds + 1e-9);
  double shares = report.unattributed_share();
  for (std::size_t i = 0; i < telemetry::kStageCount; ++i) shares += report.share(static_cast<Stage>(i));
  EXPECT_NEAR(shares, 1, 1e-9);
}

TEST_F(BenchStages, APromptIsTokenisedReadAndAnswered) {
  const auto reports = measured({.prefill_tokens = 100, .decode_steps = 0, .max_batch_tokens = 64, .rounds = 2});
  ASSERT_TRUE(reports) << reports.error().message;
  ASSERT_EQ(reports->size(), 1u);
  const StageReport& report = reports->front();
  expect_a_whole(report);
  EXPECT_EQ(report.units, 2u);
  for (const Stage once : {Stage::kTokenise, Stage::kHead, Stage::kDetokenise, Stage::kDeliver}) {
    EXPECT_EQ(report.calls(once), 1) << telemetry::spec_of(once).name;
  }
  for (const Stage step : {Stage::kPlan, Stage::kEmbed, Stage::kSample}) {
    EXPECT_EQ(report.calls(step), 2) << "64 rows and 36: " << telemetry::spec_of(step).name;
  }
  for (const Stage layer : {Stage::kQkv, Stage::kRotateStore}) {
    EXPECT_EQ(report.calls(layer), 2 * kLayers) << telemetry::spec_of(layer).name;
  }
  for (const Stage layer :
       {Stage::kAttention, Stage::kAttentionOutput, Stage::kFfnGateUp, Stage::kFfnActivation, Stage::kFfnDown}) {
    EXPECT_EQ(report.calls(layer), 2 * kLayers - 1)
        << "of the first 64 rows nobody wants logits: " << telemetry::spec_of(layer).name;
  }
  EXPECT_GT(report.share_of_roof(Stage::kQkv), 0);
  EXPECT_EQ(report.share_of_roof(Stage::kAttention), 0) << "it has no weights";
}

TEST_F(BenchStages, ADecodeStepHasARowForEachSequence) {
  const auto reports = measured({.prefill_tokens = 0, .decode_steps = 10, .batch = 3, .depth = 50, .rounds = 2});
  ASSERT_TRUE(reports) << reports.error().message;
  ASSERT_EQ(reports->size(), 1u);
  const StageReport& report = reports->front();
  expect_a_whole(report);
  EXPECT_EQ(report.units, 20u);
  for (const Stage step : {Stage::kPlan, Stage::kEmbed, Stage::kHead, Stage::kSample}) {
    EXPECT_EQ(report.calls(step), 1) << telemetry::spec_of(step).name;
  }
  EXPECT_EQ(report.calls(Stage::kAttention), kLayers);
  EXPECT_EQ(report.calls(Stage::kNorm), 3 * kLayers + 1);
  EXPECT_EQ(report.calls(Stage::kDeliver), 3) << "a token of each sequence, in every step";
  EXPECT_EQ(report.calls(Stage::kTokenise), 0);
}

TEST_F(BenchStages, SequencesThatBeginLateDoNotShortenTheMeasurement) {
  const auto reports =
      measured({.prefill_tokens = 0, .decode_steps = 5, .batch = 8, .depth = 40, .max_batch_tokens = 1, .rounds = 1});
  ASSERT_TRUE(reports) << reports.error().message;
  EXPECT_EQ(reports->front().calls(Stage::kDeliver), 8);
}

TEST_F(BenchStages, TokensWithoutTextArePromptsToo) {
  model_.card.tokenizer = text::Tokenizer::ids_only(model_.network->vocab());
  const auto reports = measured({.prefill_tokens = 40, .decode_steps = 2, .rounds = 1});
  ASSERT_TRUE(reports) << reports.error().message;
  ASSERT_EQ(reports->size(), 2u);
  EXPECT_EQ(reports->front().calls(Stage::kTokenise), 0);
  EXPECT_EQ(reports->front().calls(Stage::kHead), 1);
}

TEST_F(BenchStages, RefusesWhatItCannotMeasure) {
  const auto refusal = [&](const StagesPlan& plan) {
    const auto reports = measured(plan);
    EXPECT_FALSE(reports);
    return reports ? std::string() : reports.error().where;
  };
  EXPECT_EQ(refusal({.prefill_tokens = 0, .decode_steps = 0}), "--prefill");
  EXPECT_EQ(refusal({.rounds = 0}), "--rounds");
  EXPECT_EQ(refusal({.batch = 0}), "--batch");
  EXPECT_EQ(refusal({.prefill_tokens = 1024, .decode_steps = 8}), "--prefill");
  EXPECT_EQ(refusal({.prefill_tokens = 8, .decode_steps = 8, .depth = 1020}), "--decode");
  EXPECT_TRUE(measured({.prefill_tokens = 1023, .decode_steps = 0, .rounds = 1}));
}

}  // namespace
}  // namespace autoglm::app

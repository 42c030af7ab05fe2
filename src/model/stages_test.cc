// SPDX-License-Identifier: Apache-2.0
// Loading and forward() count their stages: each once a layer, or once a pass, whatever the family.
#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "kernels/cpu.h"
#include "model/evaluate.h"
#include "model/load.h"

namespace autoglm::model {
namespace {

using telemetry::Stage;

struct Counted {
  std::string name;
  std::uint64_t layers;
  std::uint64_t norms_a_layer;  // two before linear layers, the rounding before the third, and norms behind
};

LoadedModel load(const std::string& name, telemetry::Stages* stages) {
  const auto path = std::filesystem::path(TESTDATA_DIR) / "golden" / (name.ends_with(".gguf") ? "gguf" : "tiny") / name;
  auto loaded = load_model(path, {.isa = kernels::available_isas().back(), .threads = 1, .stages = stages});
  EXPECT_TRUE(loaded) << loaded.error().message;
  return std::move(*loaded);
}

TEST(ModelStages, LoadingIsCountedOnce) {
  const base::SystemClock clock;
  telemetry::Stages stages(clock);
  load("qwen2", &stages);
  const telemetry::StageTimes times = stages.read();
  EXPECT_EQ(times[Stage::kLoadTokenizer].calls, 1u);
  EXPECT_EQ(times[Stage::kLoadWeights].calls, 1u);
  EXPECT_GT(times[Stage::kLoadWeights].nanoseconds, 0u);
  EXPECT_EQ(times.sum(telemetry::StagePlace::kStep), 0u) << "nothing has run yet";
}

TEST(ModelStages, EveryStageOfAPassIsCounted) {
  for (const auto& [name, layers, norms] : {Counted{"qwen2", 3, 3}, Counted{"gemma3_text", 5, 5}}) {
    const base::SystemClock clock;
    telemetry::Stages stages(clock);
    const LoadedModel loaded = load(name, &stages);
    SoloSequence sequence(*loaded.network, 64, 64);
    const std::vector<TokenId> ids(20, 7);
    const telemetry::StageTimes before = stages.read();
    const base::Time begin = clock.now();
    sequence.append(ids, SoloSequence::Want::kLast);
    const base::Duration passed = clock.now() - begin;
    const telemetry::StageTimes times = stages.read() - before;
    EXPECT_EQ(times[Stage::kEmbed].calls, 1u) << name;
    EXPECT_EQ(times[Stage::kNorm].calls, norms * layers + 1) << name;
    for (const Stage stage : {Stage::kQkv, Stage::kRotateStore, Stage::kAttention, Stage::kAttentionOutput,
                              Stage::kFfnGateUp, Stage::kFfnActivation, Stage::kFfnDown}) {
      EXPECT_EQ(times[stage].calls, layers) << name << ": " << telemetry::spec_of(stage).name;
    }
    EXPECT_EQ(times[Stage::kHead].calls, 1u) << name;
    EXPECT_GT(times.sum(telemetry::StagePlace::kStep), 0u) << name;
    EXPECT_LE(times.sum(telemetry::StagePlace::kStep), static_cast<std::uint64_t>(passed.count())) << name;
  }
}

TEST(ModelStages, WithoutLogitsThereIsNoHead) {
  const base::SystemClock clock;
  telemetry::Stages stages(clock);
  const LoadedModel loaded = load("qwen2", &stages);
  SoloSequence sequence(*loaded.network, 64, 64);
  sequence.append(std::vector<TokenId>(20, 7), SoloSequence::Want::kNone);
  EXPECT_EQ(stages.read()[Stage::kHead].calls, 0u);
  EXPECT_EQ(stages.read()[Stage::kEmbed].calls, 1u);
}

// hidden 84, 6 query and 2 KV heads of 14, feed-forward 102, vocabulary 451, 3 layers.
TEST(ModelStages, TheWorkOfAStageIsThatOfItsWeights) {
  const LoadedModel loaded = load("qwen2", nullptr);
  const auto macs = [&](Stage stage) { return loaded.network->work(stage).macs_per_row; };
  EXPECT_EQ(macs(Stage::kQkv), 3 * 84 * (84 + 2 * 28));
  EXPECT_EQ(macs(Stage::kAttentionOutput), 3 * 84 * 84);
  EXPECT_EQ(macs(Stage::kFfnGateUp), 3 * 84 * 2 * 102);
  EXPECT_EQ(macs(Stage::kFfnDown), 3 * 84 * 102);
  EXPECT_EQ(macs(Stage::kHead), 84 * 451);
  EXPECT_EQ(macs(Stage::kAttention), 0);
  EXPECT_GE(loaded.network->work(Stage::kHead).weight_bytes, 84 * 451);
}

TEST(ModelStages, ExpertsAreChosenAndPackedInStagesOfTheirOwn) {
  const base::SystemClock clock;
  telemetry::Stages stages(clock);
  const LoadedModel loaded = load("glm4moe-F16.gguf", &stages);
  SoloSequence sequence(*loaded.network, 64, 64);
  const TokenId token[] = {7};
  sequence.append(token, SoloSequence::Want::kLast);
  telemetry::StageTimes times = stages.read();
  EXPECT_EQ(times[Stage::kRoute].calls, 2u);  // layers that have them
  EXPECT_EQ(times[Stage::kPackExperts].calls, 2u * 4);
  EXPECT_EQ(times[Stage::kFfnDown].calls, 3u + 2 * 4);
  sequence.restart();
  sequence.append(token, SoloSequence::Want::kLast);
  times = stages.read();
  EXPECT_EQ(times[Stage::kRoute].calls, 4u);
  EXPECT_EQ(times[Stage::kPackExperts].calls, 2u * 4);
}

// hidden 52; 3 layers, the first with an MLP of 70, the others with 4 of 8 experts of 24 and one more for all.
TEST(ModelStages, TheWorkOfExpertsIsThatOfTheChosen) {
  const LoadedModel loaded = load("glm4moe-F16.gguf", nullptr);
  EXPECT_EQ(loaded.network->work(Stage::kRoute).macs_per_row, 2 * 8 * 52);
  EXPECT_EQ(loaded.network->work(Stage::kFfnGateUp).macs_per_row, 52 * 2 * (70 + 2 * (24 + 4 * 24)));
  EXPECT_EQ(loaded.network->work(Stage::kFfnDown).macs_per_row, 52 * (70 + 2 * (24 + 4 * 24)));
  EXPECT_GT(loaded.network->work(Stage::kFfnDown).weight_bytes, 2 * 52 * (70 + 2 * (24 + 4 * 24)));  // of F16
}

}  // namespace
}  // namespace autoglm::model

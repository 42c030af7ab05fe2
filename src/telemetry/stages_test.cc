// SPDX-License-Identifier: Apache-2.0
#include "telemetry/stages.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "telemetry/metrics.h"

namespace autoglm::telemetry {
namespace {

using std::chrono::nanoseconds;

TEST(StageTable, NamesAreUniqueWords) {
  std::set<std::string_view> seen;
  for (const StageSpec& spec : all_stages()) {
    EXPECT_TRUE(seen.insert(spec.name).second) << spec.name;
    EXPECT_EQ(spec.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string_view::npos) << spec.name;
    EXPECT_TRUE(spec.meaning.ends_with(".")) << spec.name;
  }
  EXPECT_EQ(seen.size(), kStageCount);
}

TEST(StageTable, TheTableStandsInTheOrderOfTheEnumeration) {
  EXPECT_EQ(spec_of(Stage::kLoadTokenizer).name, "load_tokenizer");
  EXPECT_EQ(spec_of(Stage::kTokenise).name, "tokenise");
  EXPECT_EQ(spec_of(Stage::kAttention).name, "attention");
  EXPECT_EQ(spec_of(Stage::kHead).name, "head");
  EXPECT_EQ(spec_of(Stage::kGrammarMask).name, "grammar_mask");
  EXPECT_EQ(spec_of(Stage::kDeliver).name, "deliver");
}

TEST(StageTimer, CountsEachStageFromItsBeginningToTheNext) {
  base::VirtualClock clock;
  Stages stages(clock);
  {
    StageTimer time(&stages, Stage::kNorm);
    clock.advance(nanoseconds(5));
    time.next(Stage::kQkv);
    clock.advance(nanoseconds(7));
    time.next(Stage::kNorm);
    clock.advance(nanoseconds(11));
    time.stop();
    clock.advance(nanoseconds(12));
  }
  clock.advance(nanoseconds(13));  // nobody's
  const StageTimes times = stages.read();
  EXPECT_EQ(times[Stage::kNorm].nanoseconds, 16u);
  EXPECT_EQ(times[Stage::kNorm].calls, 2u);
  EXPECT_EQ(times[Stage::kQkv].nanoseconds, 7u);
  EXPECT_EQ(times[Stage::kQkv].calls, 1u);
  EXPECT_EQ(times[Stage::kHead].calls, 0u);
}

TEST(StageTimer, WithoutStagesDoesNothing) {
  StageTimer time(nullptr, Stage::kNorm);
  time.next(Stage::kQkv);
}

TEST(StageTimes, TheDifferenceIsWhatHappenedBetween) {
  base::VirtualClock clock;
  Stages stages(clock);
  stages.add(Stage::kSample, nanoseconds(100));
  const StageTimes before = stages.read();
  stages.add(Stage::kSample, nanoseconds(20));
  stages.add(Stage::kSample, nanoseconds(3));
  stages.add(Stage::kGrammarMask, nanoseconds(1000));
  stages.add(Stage::kTokenise, nanoseconds(4));
  const StageTimes between = stages.read() - before;
  EXPECT_EQ(between[Stage::kSample].nanoseconds, 23u);
  EXPECT_EQ(between[Stage::kSample].calls, 2u);
  EXPECT_EQ(between.sum(StagePlace::kStep), 23u) << "masks are made beside the step";
  EXPECT_EQ(between.sum(StagePlace::kBeside), 1000u);
  EXPECT_EQ(between.sum(StagePlace::kCaller), 4u);
  StageTimes both = before;
  both += between;
  EXPECT_EQ(both[Stage::kSample].nanoseconds, 123u);
  EXPECT_EQ(both[Stage::kSample].calls, 3u);
}

TEST(Stages, CountFromManyThreads) {
  const base::SystemClock clock;
  Stages stages(clock);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&stages] {
      for (int i = 0; i < 1000; ++i) stages.add(Stage::kTokenise, nanoseconds(3));
    });
  }
  threads.clear();
  EXPECT_EQ(stages.read()[Stage::kTokenise].calls, 4000u);
  EXPECT_EQ(stages.read()[Stage::kTokenise].nanoseconds, 12000u);
}

TEST(Stages, TheRegistryShowsEachInSeconds) {
  base::VirtualClock clock;
  Registry registry(clock);
  const std::string before = registry.expose();
  for (const StageSpec& spec : all_stages()) {
    const std::string line = "openautoglm_stage_seconds_total{stage=\"" + std::string(spec.name) + "\"} 0\n";
    EXPECT_NE(before.find(line), std::string::npos) << line << before;
  }
  registry.stages().add(Stage::kAttention, std::chrono::milliseconds(1500));
  EXPECT_NE(registry.expose().find("stage_seconds_total{stage=\"attention\"} 1.5\n"), std::string::npos);
  registry.stages().add(Stage::kAttention, std::chrono::milliseconds(250));
  EXPECT_NE(registry.expose().find("stage_seconds_total{stage=\"attention\"} 1.75\n"), std::string::npos)
      << "asked twice, counted once";
}

}  // namespace
}  // namespace autoglm::telemetry

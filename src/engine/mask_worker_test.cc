// SPDX-License-Identifier: Apache-2.0
#include "engine/mask_worker.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>

#include "engine/engine.h"

namespace autoglm::engine {
namespace {

// Allows token 3; counts how often it was asked, and can fail in both ways.
class CountingMatcher final : public text::Matcher {
 public:
  enum class Mood { kWell, kExhausted, kThrows };
  CountingMatcher(int& asked, Mood mood) : asked_(asked), mood_(mood) {}
  Status mask(std::span<std::uint32_t> words) override {
    ++asked_;
    if (mood_ == Mood::kThrows) throw std::runtime_error("broken");
    if (mood_ == Mood::kExhausted) return fail(Code::kExhausted, "too dear");
    words[0] = 8;
    return {};
  }
  Status accept(text::TokenId) override { return {}; }
  bool is_finished() const override { return false; }

 private:
  int& asked_;
  const Mood mood_;
};

class MaskWorkerTest : public testing::Test {
 protected:
  PlannedSequence planned(CountingMatcher::Mood mood, bool samples = true) {
    generation::Request request;
    request.prompt = {1};
    SamplingState state(request, {}, 0, 32, 1, std::make_unique<CountingMatcher>(asked_, mood));
    sequences_.push_back(std::make_unique<Sequence>(sequences_.size() + 1, request, nullptr, std::move(state), 1,
                                                    *model_.card.tokenizer, base::Time()));
    PlannedSequence result;
    result.sequence = sequences_.back().get();
    result.samples = samples;
    return result;
  }

  int asked_ = 0;
  const base::SystemClock clock_;
  telemetry::Stages stages_{clock_};
  EngineModel model_ = load_script("==\nhello\n").value();
  std::vector<std::unique_ptr<Sequence>> sequences_;
};

TEST_F(MaskWorkerTest, MasksAreThereWhenItHasFinishedAndAreComputedOnce) {
  MaskWorker worker(stages_);
  const PlannedSequence sequences[] = {planned(CountingMatcher::Mood::kWell), planned(CountingMatcher::Mood::kWell),
                                       planned(CountingMatcher::Mood::kWell, false)};
  for (int step = 1; step <= 50; ++step) {
    worker.start(sequences);
    worker.finish();
    EXPECT_EQ(asked_, 2 * step) << "one that does not sample needs no mask";
    for (int i = 0; i < 2; ++i) {
      const auto mask = sequences[i].sequence->sampling.take_mask();
      ASSERT_TRUE(mask);
      EXPECT_EQ((*mask)[0], 8u);
    }
    EXPECT_EQ(asked_, 2 * step);
  }
  const telemetry::StageTimes times = stages_.read();
  EXPECT_EQ(times[telemetry::Stage::kGrammarMask].calls, 50u);
  EXPECT_GE(times[telemetry::Stage::kMaskWait].calls, 50u);
  EXPECT_LE(times[telemetry::Stage::kMaskWait].calls, 100u) << "once to hand them over, once if they are not there yet";
}

TEST_F(MaskWorkerTest, AMaskThatWasNotTakenIsKept) {
  MaskWorker worker(stages_);
  const PlannedSequence sequences[] = {planned(CountingMatcher::Mood::kWell)};
  worker.start(sequences);
  worker.finish();
  worker.start(sequences);
  worker.finish();
  EXPECT_TRUE(sequences[0].sequence->sampling.take_mask());
  EXPECT_EQ(asked_, 1);
  EXPECT_TRUE(sequences[0].sequence->sampling.take_mask()) << "without a worker it is computed when it is taken";
  EXPECT_EQ(asked_, 2);
}

TEST_F(MaskWorkerTest, AFailureBelongsToItsSequence) {
  MaskWorker worker(stages_);
  const PlannedSequence sequences[] = {planned(CountingMatcher::Mood::kThrows),
                                       planned(CountingMatcher::Mood::kExhausted),
                                       planned(CountingMatcher::Mood::kWell)};
  worker.start(sequences);
  worker.finish();
  EXPECT_EQ(sequences[0].sequence->sampling.take_mask().error().code, Code::kInternal);
  EXPECT_EQ(sequences[1].sequence->sampling.take_mask().error().code, Code::kExhausted);
  EXPECT_TRUE(sequences[2].sequence->sampling.take_mask());
}

TEST_F(MaskWorkerTest, WithoutGrammarsItIsNotWoken) {
  MaskWorker worker(stages_);
  worker.finish();
  worker.start({});
  worker.finish();
  EXPECT_EQ(asked_, 0);
  EXPECT_EQ(stages_.read()[telemetry::Stage::kGrammarMask].calls, 0u);
  EXPECT_EQ(stages_.read()[telemetry::Stage::kMaskWait].calls, 0u);
}

}  // namespace
}  // namespace autoglm::engine

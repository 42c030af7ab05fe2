// SPDX-License-Identifier: Apache-2.0
// One step at a time, by weight: with threads and counted costs, and with engines and the clock.
#include "engine/compute_turns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "engine/embedding_engine.h"
#include "engine/engine.h"
#include "engine/fake_embedding_model.h"
#include "generation/collect.h"

namespace autoglm::engine {
namespace {

// Time that moves when a step says what it cost.
class CountedClock final : public base::Clock {
 public:
  base::Time now() const override { return base::Time(base::Duration(nanoseconds_)); }
  std::int64_t unix_seconds() const override { return 0; }
  void advance(base::Duration by) { nanoseconds_ += by.count(); }

 private:
  std::atomic<std::int64_t> nanoseconds_ = 0;
};

class ComputeTurnsTest : public testing::Test {
 protected:
  CountedClock clock_;
  ComputeTurns turns_{clock_};
  std::array<telemetry::Registry, 3> metrics_{telemetry::Registry(clock_), telemetry::Registry(clock_),
                                              telemetry::Registry(clock_)};
};

TEST_F(ComputeTurnsTest, OneAtATimeAndByWeight) {
  const std::array<double, 3> weights = {3, 1, 2};
  const std::array<std::int64_t, 3> costs = {1'000'000, 5'000'000, 200'000};
  // Written in turns only, so by one thread at a time: what else they would be a race.
  std::array<double, 3> got{};
  std::array<bool, 3> has_begun{};
  double total = 0;
  int inside = 0;
  std::atomic<bool> is_over = false;
  const auto work = [&](std::size_t i) {
    ComputeTurns::Seat seat(turns_, weights[i], metrics_[i]);
    while (!is_over) {
      seat.take();
      EXPECT_EQ(++inside, 1);
      clock_.advance(base::Duration(costs[i]));
      has_begun[i] = true;
      // Until all are there they have not competed.
      if (has_begun[0] && has_begun[1] && has_begun[2]) {
        got[i] += static_cast<double>(costs[i]);
        total += static_cast<double>(costs[i]);
      }
      if (total > 2e9) is_over = true;
      --inside;
      seat.give_back();
    }
    seat.rest();
  };
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 3; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(got[i] / total / (weights[i] / 6), 1, 0.05) << i;
}

TEST_F(ComputeTurnsTest, WhoRestsHoldsNobodyUp) {
  ComputeTurns::Seat heavy(turns_, 100, metrics_[0]), light(turns_, 1, metrics_[1]);
  light.take();
  clock_.advance(std::chrono::seconds(1));
  light.give_back();
  heavy.take();
  heavy.give_back();
  heavy.rest();
  for (int i = 0; i < 3; ++i) {
    light.take();
    clock_.advance(std::chrono::seconds(1));
    light.give_back();
  }
}

// Who is between two steps is waited for: else two that are always busy would take turns whatever their weights are.
TEST_F(ComputeTurnsTest, WhoIsAboutToComeBackIsNotPassedOver) {
  ComputeTurns::Seat heavy(turns_, 3, metrics_[0]);
  heavy.take();
  std::atomic<bool> has_run = false;
  std::thread other([&] {
    ComputeTurns::Seat light(turns_, 1, metrics_[1]);
    light.take();
    clock_.advance(std::chrono::seconds(3));
    light.give_back();
    light.take();
    has_run = true;
    light.give_back();
    light.rest();
  });
  clock_.advance(std::chrono::seconds(1));
  heavy.give_back();  // 1/3 of virtual time; the other one has had nothing
  heavy.take();       // after the other's first turn, which takes it to 3
  for (int step = 1; step < 8; ++step) {
    clock_.advance(std::chrono::seconds(1));
    heavy.give_back();
    EXPECT_FALSE(has_run) << step;
    heavy.take();
  }
  clock_.advance(std::chrono::seconds(9));
  heavy.give_back();
  heavy.rest();
  other.join();
  EXPECT_TRUE(has_run);
}

// What each of two models spent while both were at work. Told of in turns, so by one thread at a time.
class Spending final {
 public:
  explicit Spending(CountedClock& clock) : clock_(clock) {}

  void spend(std::size_t model, base::Duration cost) EXCLUDES(mutex_) {
    clock_.advance(cost);
    base::MutexLock lock(mutex_);
    has_begun_[model] = true;
    if (!has_begun_[0] || !has_begun_[1] || is_over_) return;
    spent_[model] += std::chrono::duration<double>(cost).count();
    is_over_ = spent_[0] + spent_[1] >= 3;
    changed_.notify_all();
  }
  /// What part of all the first one got.
  double share_of_first() EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    while (!is_over_) lock.wait(changed_);
    return spent_[0] / (spent_[0] + spent_[1]);
  }

 private:
  CountedClock& clock_;
  base::Mutex mutex_;
  std::condition_variable changed_;
  std::array<double, 2> spent_ GUARDED_BY(mutex_) = {};
  std::array<bool, 2> has_begun_ GUARDED_BY(mutex_) = {};
  bool is_over_ GUARDED_BY(mutex_) = false;
};

// An encoder whose batches have a price.
class PricedEncoder final : public model::EmbeddingModel {
 public:
  explicit PricedEncoder(Spending& spending) : spending_(spending) {}
  std::size_t vocab() const override { return fake_.vocab(); }
  std::size_t width() const override { return fake_.width(); }
  std::size_t max_tokens() const override { return fake_.max_tokens(); }
  void reserve(std::size_t max_rows, std::size_t max_texts) override { fake_.reserve(max_rows, max_texts); }
  model::Vectors forward(const model::TextBatch& batch) override {
    spending_.spend(0, std::chrono::microseconds(700));
    return fake_.forward(batch);
  }

 private:
  Spending& spending_;
  FakeEmbeddingModel fake_;
};

// A model that writes whose rows have a price: a prefill costs more than a decode.
class PricedWriter final : public model::LanguageModel {
 public:
  PricedWriter(std::unique_ptr<model::LanguageModel> script, Spending& spending)
      : script_(std::move(script)), spending_(spending) {}
  std::size_t vocab() const override { return script_->vocab(); }
  std::size_t context_length() const override { return script_->context_length(); }
  std::size_t kv_bytes_per_block() const override { return script_->kv_bytes_per_block(); }
  void reserve(std::size_t blocks, std::size_t max_rows, std::size_t max_logit_rows) override {
    script_->reserve(blocks, max_rows, max_logit_rows);
  }
  void copy_block(std::uint32_t from, std::uint32_t to) override { script_->copy_block(from, to); }
  model::Logits forward(const model::Batch& batch) override {
    spending_.spend(1, std::chrono::microseconds(300) * static_cast<std::int64_t>(batch.tokens.size()));
    return script_->forward(batch);
  }

 private:
  std::unique_ptr<model::LanguageModel> script_;
  Spending& spending_;
};

class NoEmbeddingSink final : public generation::EmbeddingSink {
  void on_end(Result<generation::EmbeddingAnswer>) override {}
};

// The classic pair on real engines: an encoder of weight 3 with 8 requests at once, a model that writes of weight 1
// with 4, both with more to do than there is time. Each gets its share of the time.
TEST_F(ComputeTurnsTest, EnginesHaveTheirShares) {
  Spending spending(clock_);
  EmbeddingEngineModel encoder_model{.network = std::make_unique<PricedEncoder>(spending), .card = {}};
  encoder_model.card.context_length = FakeEmbeddingModel::kMaxTokens;
  encoder_model.card.tokenizer = text::Tokenizer::ids_only(FakeEmbeddingModel::kVocab);
  auto encoder = start_embedding_engine(
      std::move(encoder_model),
      {.max_batch_size = 8, .batch_timeout = {}, .max_requests = 8, .turns = &turns_, .weight = 3}, clock_,
      metrics_[0]);
  ASSERT_TRUE(encoder) << encoder.error().message;
  auto script = load_script("== \nagain <|repeat|>\n");
  ASSERT_TRUE(script) << script.error().message;
  script->network = std::make_unique<PricedWriter>(std::move(script->network), spending);
  auto writer =
      start_engine(std::move(*script), {.max_batch_size = 4, .turns = &turns_, .weight = 1}, clock_, metrics_[1]);
  ASSERT_TRUE(writer) << writer.error().message;
  const std::vector<std::vector<generation::TokenId>> texts(2048, std::vector<generation::TokenId>(20, 1));
  for (int i = 0; i < 200; ++i) {
    generation::Request request;
    request.prompt.assign(100, 65);
    request.ignore_eos = true;
    request.max_tokens = 20'000;
    ASSERT_TRUE((*writer)->submit(std::move(request), std::make_shared<generation::CollectingSink>()));
    ASSERT_TRUE((*encoder)->submit({.id = "e", .texts = texts, .tenant = {}}, std::make_shared<NoEmbeddingSink>()));
  }
  EXPECT_NEAR(spending.share_of_first() / 0.75, 1, 0.05);
  EXPECT_THAT(metrics_[0].expose(), testing::HasSubstr("openautoglm_model_weight 3\n"));
}

}  // namespace
}  // namespace autoglm::engine

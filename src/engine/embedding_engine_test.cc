// SPDX-License-Identifier: Apache-2.0
// The embedder's thread and its door, on a model without weights: vectors, refusals at the bound, cancellation, drain.
#include "engine/embedding_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "engine/fake_embedding_model.h"

namespace autoglm::engine {
namespace {

using generation::EmbeddingAnswer;
using generation::EmbeddingRequest;
using testing::ElementsAre;

// Counts the ends that it hears of.
class CountingSink final : public generation::EmbeddingSink {
 public:
  void on_end(Result<EmbeddingAnswer> answer) override {
    base::MutexLock lock(mutex_);
    codes_.push_back(answer ? std::nullopt : std::optional(answer.error().code));
    changed_.notify_all();
  }
  std::vector<std::optional<Code>> wait() {
    base::MutexLock lock(mutex_);
    while (codes_.empty()) lock.wait(changed_);
    return codes_;
  }

 private:
  base::Mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::optional<Code>> codes_ GUARDED_BY(mutex_);
};

class EmbeddingEngineTest : public testing::Test {
 protected:
  void start(EmbeddingOptions options = {.batch_timeout = {}}) {
    auto network = std::make_unique<FakeEmbeddingModel>();
    fake_ = network.get();
    EmbeddingEngineModel model{.network = std::move(network), .card = {}};
    model.card.name = "fake";
    model.card.context_length = FakeEmbeddingModel::kMaxTokens;
    model.card.tokenizer = text::Tokenizer::ids_only(FakeEmbeddingModel::kVocab);
    auto engine = start_embedding_engine(std::move(model), options, clock_, metrics_);
    ASSERT_TRUE(engine) << engine.error().message;
    engine_ = std::move(*engine);
  }

  Result<EmbeddingAnswer> embed(std::vector<std::vector<generation::TokenId>> texts) {
    return generation::embed(*engine_, {.id = "t", .texts = std::move(texts), .tenant = {}});
  }
  Code refused(std::vector<std::vector<generation::TokenId>> texts, std::string_view where = "input") {
    const auto answer = embed(std::move(texts));
    EXPECT_FALSE(answer);
    if (answer) return Code::kInternal;
    EXPECT_EQ(answer.error().where, where);
    return answer.error().code;
  }

  base::SystemClock clock_;
  telemetry::Registry metrics_{clock_};
  FakeEmbeddingModel* fake_ = nullptr;
  std::unique_ptr<generation::Embedder> engine_;
};

TEST_F(EmbeddingEngineTest, GivesAVectorOfEachTextInItsOrder) {
  start();
  EXPECT_EQ(engine_->card().width, 2u);
  EXPECT_THAT(embed({{1, 2, 3}}).value().vectors, ElementsAre(3, 6));
  EXPECT_THAT(embed({{5}, {1, 1}, {9, 0, 0}}).value().vectors, ElementsAre(1, 5, 2, 2, 3, 9));
  EXPECT_EQ(engine_->in_flight(), 0u);
}

TEST_F(EmbeddingEngineTest, ManyTextsRunInSeveralBatches) {
  start({.max_batch_size = 4, .max_batch_tokens = 64, .batch_timeout = {}});
  std::vector<std::vector<generation::TokenId>> texts;
  for (std::int32_t i = 0; i < 10; ++i) texts.push_back({i, i});
  const auto answer = embed(texts).value();
  for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(answer.vectors[2 * i + 1], 2 * static_cast<float>(i));
  EXPECT_THAT(fake_->batches(), ElementsAre(4, 4, 2));
}

TEST_F(EmbeddingEngineTest, WhatIsOutOfBoundsIsRefused) {
  start();
  EXPECT_EQ(refused({}), Code::kInvalidArgument);
  EXPECT_EQ(refused({{}}), Code::kInvalidArgument);
  EXPECT_EQ(refused({{1}, {}}, "input[1]"), Code::kInvalidArgument);
  EXPECT_EQ(refused({{static_cast<std::int32_t>(FakeEmbeddingModel::kVocab)}}), Code::kInvalidArgument);
  EXPECT_EQ(refused({{-1}}), Code::kInvalidArgument);
  EXPECT_TRUE(embed({{static_cast<std::int32_t>(FakeEmbeddingModel::kVocab) - 1}}));
  EXPECT_TRUE(embed({std::vector<generation::TokenId>(FakeEmbeddingModel::kMaxTokens, 1)}));
  EXPECT_EQ(refused({std::vector<generation::TokenId>(FakeEmbeddingModel::kMaxTokens + 1, 1)}), Code::kInvalidArgument);
  const std::vector<std::vector<generation::TokenId>> most(generation::kMaxTexts, {1});
  EXPECT_EQ(embed(most).value().vectors.size(), 2 * generation::kMaxTexts);
  EXPECT_EQ(refused(std::vector<std::vector<generation::TokenId>>(generation::kMaxTexts + 1, {1})),
            Code::kInvalidArgument);
}

TEST_F(EmbeddingEngineTest, AFullQueueRefuses) {
  start({.max_batch_size = 1, .batch_timeout = {}, .queue_capacity = 2});
  fake_->hold(true);
  std::vector<std::shared_ptr<CountingSink>> sinks;
  for (int i = 0; i < 3; ++i) {
    sinks.push_back(std::make_shared<CountingSink>());
    ASSERT_TRUE(engine_->submit({.id = {}, .texts = {{1}}, .tenant = {}}, sinks.back()));
  }
  const auto full = engine_->submit({.id = {}, .texts = {{1}}, .tenant = {}}, std::make_shared<CountingSink>());
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Code::kExhausted);
  fake_->hold(false);
  for (const auto& sink : sinks) EXPECT_THAT(sink->wait(), ElementsAre(std::nullopt));
}

TEST_F(EmbeddingEngineTest, ACancelledRequestEndsOnce) {
  start({.max_batch_size = 1, .batch_timeout = {}});
  fake_->hold(true);
  const auto sink = std::make_shared<CountingSink>();
  const auto ticket = engine_->submit({.id = {}, .texts = {{1}, {2}}, .tenant = {}}, sink).value();
  fake_->wait_until_entered(1);
  engine_->cancel(ticket);
  engine_->cancel(ticket + 100);  // nobody's
  fake_->hold(false);
  EXPECT_THAT(sink->wait(), ElementsAre(Code::kCancelled));
  EXPECT_EQ(engine_->in_flight(), 0u);
  EXPECT_TRUE(embed({{1}}));
}

TEST_F(EmbeddingEngineTest, ADrainingEngineFinishesWhatItHas) {
  start();
  fake_->hold(true);
  const auto sink = std::make_shared<CountingSink>();
  ASSERT_TRUE(engine_->submit({.id = {}, .texts = {{1}}, .tenant = {}}, sink));
  engine_->drain();
  EXPECT_FALSE(engine_->is_ready());
  EXPECT_EQ(embed({{1}}).error().code, Code::kUnavailable);
  fake_->hold(false);
  EXPECT_THAT(sink->wait(), ElementsAre(std::nullopt));
}

TEST_F(EmbeddingEngineTest, AStoppedEngineEndsEveryRequest) {
  start({.batch_timeout = std::chrono::hours(1)});
  const auto sink = std::make_shared<CountingSink>();
  ASSERT_TRUE(engine_->submit({.id = {}, .texts = {{1}}, .tenant = {}}, sink));
  engine_.reset();
  EXPECT_THAT(sink->wait(), ElementsAre(Code::kUnavailable));
}

// As many clients as a batch holds: all of them are served together though none waits out the timeout.
TEST_F(EmbeddingEngineTest, ClientsAreServedTogether) {
  start({.max_batch_size = 3, .batch_timeout = std::chrono::hours(1)});
  std::vector<std::thread> clients;
  for (std::int32_t client = 0; client < 3; ++client) {
    clients.emplace_back([this, client] {
      for (int round = 0; round < 20; ++round) EXPECT_EQ(embed({{client}}).value().vectors[1], client);
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(fake_->batches(), std::vector<std::size_t>(20, 3));
}

TEST_F(EmbeddingEngineTest, OptionsKeepTheirBounds) {
  const auto refused_options = [&](EmbeddingOptions options) {
    EmbeddingEngineModel model{.network = std::make_unique<FakeEmbeddingModel>(), .card = {}};
    model.card.context_length = 1;
    return !start_embedding_engine(std::move(model), options, clock_, metrics_);
  };
  EXPECT_TRUE(refused_options({.max_batch_size = 0}));
  EXPECT_TRUE(refused_options({.max_batch_size = 4097}));
  EXPECT_FALSE(refused_options({.max_batch_size = 4096}));
  EXPECT_TRUE(refused_options({.max_batch_tokens = 65537}));
  EXPECT_TRUE(refused_options({.queue_capacity = 0}));
}

}  // namespace
}  // namespace autoglm::engine

// SPDX-License-Identifier: Apache-2.0
// Perplexity and logits of a sequence, on a network whose answer is known: what is scored, in which window.
#include "model/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>

namespace autoglm::model {
namespace {

// Predicts the token it was given (or one further by `shift`) with probability 1/2 + 1/(2 V), all others alike;
// remembers the rows it ran.
class EchoModel final : public LanguageModel {
 public:
  static constexpr std::size_t kVocab = 8;
  explicit EchoModel(std::size_t context, TokenId shift = 0) : context_(context), shift_(shift) {}
  std::size_t vocab() const override { return kVocab; }
  std::size_t context_length() const override { return context_; }
  std::size_t kv_bytes_per_block() const override { return 1; }
  void reserve(std::size_t, std::size_t max_rows, std::size_t max_logit_rows) override {
    EXPECT_EQ(max_rows, max_logit_rows);
    logits_.resize(max_logit_rows * kVocab);
  }
  void copy_block(std::uint32_t, std::uint32_t) override { ADD_FAILURE() << "a lone sequence copies nothing"; }
  Logits forward(const Batch& batch) override {
    longest_ = std::max(longest_, batch.sequences[0].first_position + batch.sequences[0].rows);
    rows_ += batch.tokens.size();
    for (std::size_t i = 0; i < batch.logit_rows.size(); ++i) {
      for (std::size_t v = 0; v < kVocab; ++v) {
        const bool is_same = static_cast<TokenId>(v) == batch.tokens[batch.logit_rows[i]] + shift_;
        logits_[i * kVocab + v] = is_same ? static_cast<float>(std::log(kVocab + 1.0)) : 0.0f;
      }
    }
    return {batch.logit_rows.size(), kVocab, logits_.data()};
  }
  std::size_t longest() const { return longest_; }
  std::size_t rows() const { return rows_; }

 private:
  std::size_t context_;
  TokenId shift_;
  std::size_t longest_ = 0, rows_ = 0;
  std::vector<float> logits_;
};

const double kSame = -std::log((EchoModel::kVocab + 1.0) / (2 * EchoModel::kVocab));
const double kOther = -std::log(1.0 / (2 * EchoModel::kVocab));

TEST(Perplexity, ScoresEveryTokenButTheFirst) {
  EchoModel network(4096);
  const std::vector<TokenId> tokens = {1, 1, 2, 2, 2, 3};
  const auto result = perplexity(network, tokens, {});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->window, 2048u);
  EXPECT_EQ(result->stride, 1024u);
  EXPECT_EQ(result->tokens, 6u);
  ASSERT_EQ(result->tokens_scored, 5u);
  const double expected[] = {kSame, kOther, kSame, kSame, kOther};
  for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(result->nll[i], expected[i], 1e-6) << i;
  EXPECT_NEAR(result->mean_nll, (3 * kSame + 2 * kOther) / 5, 1e-6);
  EXPECT_NEAR(result->perplexity, std::exp(result->mean_nll), 1e-9);
}

TEST(Perplexity, WindowsOverlapAndScoreEachTokenOnce) {
  for (const std::size_t window : {2u, 3u, 8u, 70u, 100u}) {
    for (std::size_t stride = 1; stride < window; stride += 3) {
      EchoModel network(128);
      std::vector<TokenId> tokens(150);
      for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>(i * i % EchoModel::kVocab);
      const auto result = perplexity(network, tokens, {.window = window, .stride = stride});
      ASSERT_TRUE(result);
      EXPECT_EQ(result->tokens_scored, 149u);
      for (std::size_t i = 0; i < 149; ++i) {
        ASSERT_NEAR(result->nll[i], tokens[i] == tokens[i + 1] ? kSame : kOther, 1e-6) << window << " " << stride;
      }
      EXPECT_LT(network.longest(), window);  // the last position of a window predicts nothing in it
    }
  }
}

TEST(Perplexity, RefusesWhatCannotBeScored) {
  EchoModel network(16);
  const std::vector<TokenId> tokens = {1, 2, 3};
  EXPECT_EQ(perplexity(network, std::span(tokens).first(1), {}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(perplexity(network, tokens, {.window = 17}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(perplexity(network, tokens, {.window = 1}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(perplexity(network, tokens, {.window = 8, .stride = 8}).error().code, Code::kInvalidArgument);
  const std::vector<TokenId> outside = {1, EchoModel::kVocab};
  EXPECT_EQ(perplexity(network, outside, {}).error().code, Code::kInvalidArgument);
  const std::vector<TokenId> negative = {-1, 1};
  EXPECT_EQ(perplexity(network, negative, {}).error().code, Code::kInvalidArgument);
}

TEST(Compare, SeesBothOnTheSameTokens) {
  const std::vector<TokenId> tokens = {1, 1, 2, 2, 2, 3};
  EchoModel reference(64), same(64);
  const auto equal = compare(reference, same, tokens, {});
  ASSERT_TRUE(equal) << equal.error().message;
  EXPECT_NEAR(equal->mean_kl, 0, 1e-9);
  EXPECT_EQ(equal->reference.nll, equal->other.nll);
  EXPECT_EQ(equal->other.tokens_scored, 5u);

  EchoModel plain(64), shifted(64, 1);
  const auto parted = compare(plain, shifted, tokens, {.window = 3, .stride = 2});
  ASSERT_TRUE(parted);
  const double expected[] = {kOther, kSame, kOther, kOther, kSame};  // the shifted one sees 2 behind 1, 3 behind 2
  for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(parted->other.nll[i], expected[i], 1e-6) << i;
  // Each is high where the other is low, at one place each, and equal elsewhere.
  const double high = std::exp(-kSame), low = std::exp(-kOther);
  EXPECT_NEAR(parted->mean_kl, (high - low) * std::log(high / low), 1e-6);
}

TEST(ComputeLogits, GivesEveryPositionAcrossChunks) {
  LoadedModel model;
  model.network = std::make_unique<EchoModel>(256);
  std::vector<TokenId> ids(150);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<TokenId>(i % EchoModel::kVocab);
  const auto logits = compute_logits(model, ids);
  ASSERT_TRUE(logits);
  ASSERT_EQ(logits->size(), ids.size() * EchoModel::kVocab);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    for (std::size_t v = 0; v < EchoModel::kVocab; ++v) {
      EXPECT_EQ((*logits)[i * EchoModel::kVocab + v] > 0, static_cast<TokenId>(v) == ids[i]);
    }
  }
}

TEST(ComputeLogits, RefusesIdsThatDoNotFit) {
  LoadedModel model;
  model.network = std::make_unique<EchoModel>(4);
  EXPECT_EQ(compute_logits(model, {}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(compute_logits(model, std::vector<TokenId>(5)).error().code, Code::kInvalidArgument);
  EXPECT_EQ(compute_logits(model, std::vector<TokenId>{99}).error().code, Code::kInvalidArgument);
  EXPECT_TRUE(compute_logits(model, std::vector<TokenId>(4)));
}

}  // namespace
}  // namespace autoglm::model

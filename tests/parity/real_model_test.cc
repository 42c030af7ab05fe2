// SPDX-License-Identifier: Apache-2.0
// The catalogue's real models against transformers: logits, greedy tokens and loss, exact and fast, on this machine's
// best instruction set. Needs the folder that OPENAUTOGLM_TEST_MODELS names; label `model`.
#include <gtest/gtest.h>

#include "base/thread_pool.h"
#include "kernels/cpu.h"
#include "parity/comparison.h"
#include "parity/golden.h"

namespace autoglm::parity {
namespace {

constexpr std::size_t kMaxTokens = 512;
constexpr float kExactLogits = 2e-3f;
constexpr double kExactLoss = 1e-4;
constexpr double kFastLossShare = 0.006;  // of the golden mean

struct Case {
  const char* name;
  const char* file;
  float fast_logits;  // largest difference
  double fast_logits_rms;
  float narrow_gap;  // greedy tokens must agree up to the first gap below this
};

constexpr Case kCases[] = {{"smollm2", "smollm2.gguf", 1.5f, 0.4, 0.5f},
                           {"gemma3", "gemma3-270m.gguf", 1.5f, 0.4, 0.5f},
                           {"qwen05", "qwen05.gguf", 0.5f, 0.1, 0.2f},
                           {"qwen15", "qwen15.gguf", 0.5f, 0.1, 0.2f}};

class RealModel : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { golden_ = read_real_golden(GetParam().name, real_model(GetParam().file)); }
  std::unique_ptr<model::LanguageModel> load_for(kernels::Compute compute) const {
    return load(golden_, kernels::available_isas().back(), compute, base::usable_cores());
  }
  static std::vector<model::TokenId> first(const std::vector<model::TokenId>& tokens, std::size_t count) {
    return {tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(count)};
  }
  Golden golden_;
};

TEST_P(RealModel, ExactLogits) {
  const auto network = load_for(kernels::Compute::kExact);
  model::SoloSequence sequence(*network, kMaxTokens, kMaxTokens);
  for (const GoldenPrompt& prompt : golden_.prompts) {
    SCOPED_TRACE(std::to_string(prompt.ids.size()) + " ids");
    sequence.restart();
    const std::vector<float> logits = last_logits(sequence, prompt.ids);
    EXPECT_LE(largest_difference(pick(logits, prompt.top_ids), prompt.top_logits), kExactLogits);
    const std::size_t certain = certain_greedy(prompt, kExactLogits);
    EXPECT_EQ(decode_greedily(sequence, logits, certain), first(prompt.greedy, certain));
  }
}

TEST_P(RealModel, FastLogits) {
  const auto network = load_for(kernels::Compute::kFast);
  model::SoloSequence sequence(*network, kMaxTokens, kMaxTokens);
  for (const GoldenPrompt& prompt : golden_.prompts) {
    SCOPED_TRACE(std::to_string(prompt.ids.size()) + " ids");
    sequence.restart();
    const std::vector<float> logits = last_logits(sequence, prompt.ids);
    const std::vector<float> top = pick(logits, prompt.top_ids);
    EXPECT_LE(largest_difference(top, prompt.top_logits), GetParam().fast_logits);
    EXPECT_LE(root_mean_square_difference(top, prompt.top_logits), GetParam().fast_logits_rms);
    const std::size_t certain = certain_greedy(prompt, GetParam().narrow_gap);
    EXPECT_EQ(decode_greedily(sequence, logits, certain), first(prompt.greedy, certain));
  }
}

TEST_P(RealModel, ExactLoss) {
  const auto network = load_for(kernels::Compute::kExact);
  const auto result = model::perplexity(*network, golden_.nll_ids, {});
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->tokens_scored, golden_.nll_ids.size() - 1);
  EXPECT_NEAR(result->mean_nll, golden_.nll_mean, kExactLoss);
}

TEST_P(RealModel, FastLoss) {
  const auto network = load_for(kernels::Compute::kFast);
  const auto result = model::perplexity(*network, golden_.nll_ids, {});
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_NEAR(result->mean_nll, golden_.nll_mean, kFastLossShare * golden_.nll_mean);
  RecordProperty("relative_loss", std::to_string(result->mean_nll / golden_.nll_mean - 1));
}

INSTANTIATE_TEST_SUITE_P(Catalogue, RealModel, testing::ValuesIn(kCases),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace autoglm::parity

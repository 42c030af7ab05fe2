// SPDX-License-Identifier: Apache-2.0
// One row of logits at a time: what each parameter does, what is refused, and that draws have the right frequencies.
#include "engine/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "engine/engine.h"
#include "engine/fast_exp.h"

namespace autoglm::engine {
namespace {

constexpr std::size_t kVocab = 600;  // more than two blocks of the sampler's sums
constexpr float kInf = std::numeric_limits<float>::infinity();

class Deaf final : public generation::Sink {
 public:
  void on_token(generation::TokenEvent) override {}
  void on_finish(generation::Finish) override {}
};

// Allows a fixed set of tokens, and is complete after `length` of them.
class FixedMatcher final : public text::Matcher {
 public:
  FixedMatcher(std::vector<TokenId> allowed, std::size_t length) : allowed_(std::move(allowed)), left_(length) {}
  Status mask(std::span<std::uint32_t> words) override {
    std::ranges::fill(words, 0u);
    for (const TokenId token : allowed_) words[token / 32] |= 1u << (token % 32);
    return {};
  }
  Status accept(TokenId token) override {
    if (std::ranges::find(allowed_, token) == allowed_.end()) return fail(Code::kInvalidArgument, "not allowed");
    --left_;
    return {};
  }
  bool is_finished() const override { return left_ == 0; }

 private:
  std::vector<TokenId> allowed_;
  std::size_t left_;
};

// Goes through places at which some tokens are allowed; forces those where it is only one.
class PathMatcher final : public text::Matcher {
 public:
  using Path = std::vector<std::vector<TokenId>>;
  explicit PathMatcher(Path path) : path_(std::move(path)) {}
  Status mask(std::span<std::uint32_t> words) override {
    std::ranges::fill(words, 0u);
    for (const TokenId token : path_[at_]) words[token / 32] |= 1u << (token % 32);
    return {};
  }
  Status accept(TokenId token) override {
    if (std::ranges::find(path_[at_], token) == path_[at_].end()) return fail(Code::kInvalidArgument, "not allowed");
    ++at_;
    return {};
  }
  Status forced(std::vector<TokenId>& tokens) override {
    tokens.clear();
    for (std::size_t i = at_; i < path_.size() && path_[i].size() == 1; ++i) tokens.push_back(path_[i][0]);
    return is_dear ? Status(fail(Code::kExhausted, "too dear")) : Status();
  }
  bool is_finished() const override { return at_ == path_.size(); }

  bool is_dear = false;

 private:
  const Path path_;
  std::size_t at_ = 0;
};

class ThrowingMatcher final : public text::Matcher {
 public:
  Status mask(std::span<std::uint32_t>) override { throw std::runtime_error("a fault"); }
  Status accept(TokenId) override { return {}; }
  bool is_finished() const override { return false; }
};

// Its budget runs out, in the mask or when a token is accepted.
class CostlyMatcher final : public text::Matcher {
 public:
  explicit CostlyMatcher(bool is_mask_dear) : is_mask_dear_(is_mask_dear) {}
  Status mask(std::span<std::uint32_t> words) override {
    std::ranges::fill(words, ~0u);
    if (is_mask_dear_) return fail(Code::kExhausted, "too dear");
    return {};
  }
  Status accept(TokenId) override { return fail(Code::kExhausted, "too dear"); }
  bool is_finished() const override { return false; }

 private:
  const bool is_mask_dear_;
};

class SamplerTest : public testing::Test {
 protected:
  generation::Request greedy() const {
    generation::Request request;
    request.prompt = {5};
    request.max_tokens = 100;
    request.sampling.temperature = 0;
    return request;
  }

  std::unique_ptr<Sequence> sequence(const generation::Request& request, std::vector<TokenId> ends = {},
                                     std::unique_ptr<text::Matcher> matcher = nullptr) {
    SamplingState state(request, std::move(ends), request.sampling.seed.value_or(0), kVocab, 100, std::move(matcher));
    return std::make_unique<Sequence>(1, request, std::make_shared<Deaf>(), std::move(state), 100,
                                      *script_.card.tokenizer, base::Time{});
  }

  /// Samples one row for one sequence; the row is copied, as the sampler overwrites it.
  const SampledSequence& sample(Sequence& sequence, std::vector<float> row) {
    row_ = std::move(row);
    planned_ = {&sequence, 1, 0, 0, true};
    const StepPlan plan{{{}, {}, {&logit_row_, 1}}, {&planned_, 1}};
    return sampler_->sample(plan, {1, kVocab, row_.data()})[0];
  }

  TokenId token(Sequence& of, std::vector<float> row) {
    const SampledSequence& sampled = sample(of, std::move(row));
    EXPECT_FALSE(sampled.error.has_value());
    return sampled.tokens.empty() ? -1 : sampled.tokens[0].token;
  }

  std::map<TokenId, int> draw(generation::Request request, const std::vector<float>& row, int times) {
    std::map<TokenId, int> counts;
    for (int seed = 0; seed < times; ++seed) {
      request.sampling.seed = seed;
      ++counts[token(*sequence(request), row)];
    }
    return counts;
  }

  // All tokens of an answer along the path, step by step; how many steps that took.
  std::pair<std::vector<TokenId>, int> walk(const generation::Request& request, const PathMatcher::Path& path,
                                            std::vector<TokenId> ends = {}) {
    auto of = sequence(request, std::move(ends), std::make_unique<PathMatcher>(path));
    std::vector<float> row(kVocab, 0.0f);
    for (std::size_t i = 0; i < kVocab; ++i) row[i] = static_cast<float>(i * 7 % 11);
    int steps = 0;
    bool is_over = false;
    while (!is_over && ++steps < 100) {
      const SampledSequence& sampled = sample(*of, row);
      EXPECT_FALSE(sampled.error.has_value());
      is_over = sampled.is_complete || sampled.error.has_value();
      for (const SampledToken& token : sampled.tokens) {
        of->tokens.push_back(token.token);
        is_over |= of->sampling.is_end(token.token) || of->answer_size() == of->answer_limit;
      }
    }
    return {{of->tokens.begin() + 1, of->tokens.end()}, steps};
  }

  static std::vector<float> low() { return std::vector<float>(kVocab, -kInf); }

  EngineModel script_ = load_script("==\nx").value();
  std::unique_ptr<Sampler> sampler_ = std::make_unique<Sampler>(SamplerOptions{kVocab, 4, 8, {599}});
  std::vector<float> row_;
  std::uint32_t logit_row_ = 0;
  PlannedSequence planned_;
};

TEST_F(SamplerTest, GreedyTakesTheLargestAndOfTiesTheLowestId) {
  std::vector<float> row(kVocab, 0.0f);
  row[300] = row[400] = 2;
  EXPECT_EQ(token(*sequence(greedy()), row), 300);
  EXPECT_EQ(token(*sequence(greedy()), std::vector<float>(kVocab, 1.0f)), 0);
}

TEST_F(SamplerTest, FrequenciesFollowTheDistribution) {
  generation::Request request = greedy();
  request.sampling.temperature = 1;
  std::vector<float> row = low();
  row[3] = std::log(0.5f), row[290] = std::log(0.3f), row[599] = std::log(0.2f);
  const auto counts = draw(request, row, 4000);
  // Four standard deviations of a binomial with p = 0.5 and n = 4000 are 126.
  EXPECT_NEAR(counts.at(3), 2000, 126);
  EXPECT_NEAR(counts.at(290), 1200, 126);
  EXPECT_NEAR(counts.at(599), 800, 126);
  request.sampling.temperature = 0.5f;  // squares the odds: 25 : 9 : 4
  EXPECT_NEAR(draw(request, row, 4000).at(3), 4000 * 25 / 38, 126);
}

TEST_F(SamplerTest, TopKTopPAndMinPCutTheTail) {
  std::vector<float> row = low();
  for (int i = 0; i < 500; ++i) row[i] = std::log(0.001f);
  row[500] = std::log(0.4f), row[501] = std::log(0.3f), row[502] = std::log(0.1f);
  generation::Request request = greedy();
  request.sampling.temperature = 1;
  request.sampling.top_k = 2;
  EXPECT_EQ(draw(request, row, 300).size(), 2u);
  request.sampling.top_k = 0;
  request.sampling.top_p = 0.5f;  // of a mass of 1.3: 0.4 + 0.3 reach 0.65
  EXPECT_EQ(draw(request, row, 300).size(), 2u);
  request.sampling.top_p = 0;
  EXPECT_EQ(draw(request, row, 50).size(), 1u) << "the best is always kept";
  request.sampling.top_p = 1;
  request.sampling.min_p = 0.2f;  // at least 0.08
  EXPECT_EQ(draw(request, row, 300).size(), 3u);
  request.sampling.min_p = 1;
  EXPECT_EQ(draw(request, row, 50).size(), 1u);
  request.sampling.min_p = 0.5f, request.sampling.top_k = 3, request.sampling.top_p = 0.99f;
  EXPECT_EQ(draw(request, row, 300).size(), 2u);
}

TEST_F(SamplerTest, TopPReachesFarIntoAFlatDistribution) {
  generation::Request request = greedy();
  request.sampling.temperature = 1;
  request.sampling.top_p = 0.9f;
  const auto counts = draw(request, std::vector<float>(kVocab, 0.0f), 3000);
  EXPECT_LE(counts.rbegin()->first, 540) << "ties are cut from the highest id";
  EXPECT_GT(counts.size(), 500u);
}

TEST_F(SamplerTest, TheDrawIsKeyedBySeedAndPosition) {
  generation::Request request = greedy();
  request.sampling.temperature = 1;
  request.sampling.seed = 9;
  const std::vector<float> flat(kVocab, 0.0f);
  auto one = sequence(request);
  auto two = sequence(request);
  const TokenId first = token(*one, flat);
  EXPECT_EQ(first, token(*two, flat));
  one->tokens.push_back(7);
  const TokenId next = token(*one, flat);
  EXPECT_NE(first, next);
  two->tokens.push_back(8);  // another token, the same position
  EXPECT_EQ(next, token(*two, flat));
}

TEST_F(SamplerTest, PenaltiesFollowTheirFormulas) {
  generation::Request request = greedy();
  request.prompt = {1, 2};
  request.sampling.repetition_penalty = 2;
  request.sampling.frequency_penalty = 0.5f;
  request.sampling.presence_penalty = 0.25f;
  auto of = sequence(request);
  of->sampling.count(3);
  of->sampling.count(3);
  of->sampling.count(2);
  std::vector<float> row(kVocab, 1.0f);
  row[1] = -1;
  row[3] = 4;
  of->sampling.adjust(row);
  EXPECT_EQ(row[0], 1);
  EXPECT_EQ(row[1], -2) << "in the prompt only: repetition alone, and a negative logit is multiplied";
  EXPECT_EQ(row[2], 1 / 2.0f - 0.5f - 0.25f) << "in the prompt and once in the answer";
  EXPECT_EQ(row[3], 4 / 2.0f - 2 * 0.5f - 0.25f);
}

TEST_F(SamplerTest, LogitBiasAndMinTokens) {
  generation::Request request = greedy();
  request.sampling.logit_bias = {{10, 5.0f}, {20, -100.0f}};
  std::vector<float> row(kVocab, 0.0f);
  row[20] = 50;
  EXPECT_EQ(token(*sequence(request), row), 10);
  request.sampling.logit_bias.clear();
  request.min_tokens = 1;
  auto of = sequence(request, {20});
  EXPECT_EQ(token(*of, row), 0) << "the end is masked before min_tokens";
  of->tokens.push_back(0);
  EXPECT_EQ(token(*of, row), 20);
}

TEST_F(SamplerTest, LogprobsAreOfTheRawDistribution) {
  generation::Request request = greedy();
  request.want_logprobs = true;
  request.top_logprobs = 3;
  request.sampling.logit_bias = {{1, 100.0f}};
  std::vector<float> row = low();
  row[1] = std::log(0.1f), row[2] = std::log(0.6f), row[3] = std::log(0.3f);
  auto of = sequence(request);
  const SampledToken sampled = sample(*of, row).tokens[0];
  EXPECT_EQ(sampled.token, 1) << "the bias chose it";
  EXPECT_NEAR(sampled.logprob, std::log(0.1f), 1e-5);
  ASSERT_EQ(sampled.top.size(), 3u);
  EXPECT_EQ(sampled.top[0].token, 2);
  EXPECT_NEAR(sampled.top[0].logprob, std::log(0.6f), 1e-5);
  EXPECT_EQ(sampled.top[1].token, 3);
  EXPECT_EQ(sampled.top[2].token, 1);
}

TEST_F(SamplerTest, RowsThatAreNotNumbersEndTheirSequenceAlone) {
  auto bad = sequence(greedy());
  auto good = sequence(greedy());
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), kInf}) {
    std::vector<float> rows(2 * kVocab, 0.0f);
    rows[17] = value;
    rows[kVocab + 4] = 1;
    const PlannedSequence planned[] = {{bad.get(), 1, 0, 0, true}, {good.get(), 1, 1, 0, true}};
    const std::uint32_t logit_rows[] = {0, 1};
    const Sampled sampled = sampler_->sample({{{}, {}, logit_rows}, planned}, {2, kVocab, rows.data()});
    ASSERT_TRUE(sampled[0].error.has_value());
    EXPECT_EQ(sampled[0].error->code, Code::kInternal);
    EXPECT_FALSE(sampled[1].error.has_value());
    EXPECT_EQ(sampled[1].tokens[0].token, 4);
  }
  EXPECT_TRUE(sample(*bad, low()).error.has_value()) << "nothing is possible";
}

TEST_F(SamplerTest, TheGrammarsMaskDecides) {
  std::vector<float> row(kVocab, 0.0f);
  row[100] = 9;
  row[7] = 1;
  auto of = sequence(greedy(), {}, std::make_unique<FixedMatcher>(std::vector<TokenId>{6, 7}, 2));
  EXPECT_EQ(token(*of, row), 7);
  const SampledSequence& last = sample(*of, row);
  EXPECT_EQ(last.tokens[0].token, 7);
  EXPECT_TRUE(last.is_complete) << "two tokens complete it";
  const SampledSequence& after = sample(*of, row);
  EXPECT_TRUE(after.tokens.empty());
  EXPECT_TRUE(after.is_complete);
}

TEST_F(SamplerTest, WhereTheGrammarAllowsTheTokenizersEndAnyEndMayCome) {
  std::vector<float> row(kVocab, 0.0f);
  row[50] = 9;
  auto may_end = sequence(greedy(), {50}, std::make_unique<FixedMatcher>(std::vector<TokenId>{6, 599}, 9));
  EXPECT_EQ(token(*may_end, row), 50) << "599 is the tokenizer's end, 50 the model's";
  auto may_not = sequence(greedy(), {50}, std::make_unique<FixedMatcher>(std::vector<TokenId>{6}, 9));
  EXPECT_EQ(token(*may_not, row), 6);
}

TEST_F(SamplerTest, AForbiddenFavouriteIsAnErrorWhereItBinds) {
  Sampler strict({kVocab, 1, 1, {}, true});
  std::vector<float> row(kVocab, 0.0f);
  row[100] = 9;
  auto of = sequence(greedy(), {}, std::make_unique<FixedMatcher>(std::vector<TokenId>{6, 7}, 2));
  const PlannedSequence planned{of.get(), 1, 0, 0, true};
  const Sampled sampled = strict.sample({{{}, {}, {&logit_row_, 1}}, {&planned, 1}}, {1, kVocab, row.data()});
  ASSERT_TRUE(sampled[0].error.has_value());
  EXPECT_EQ(sampled[0].error->code, Code::kInternal);
  EXPECT_THAT(sampled[0].error->message, testing::HasSubstr("100"));
}

TEST_F(SamplerTest, AThrowingGrammarEndsItsSequence) {
  auto of = sequence(greedy(), {}, std::make_unique<ThrowingMatcher>());
  const SampledSequence& sampled = sample(*of, std::vector<float>(kVocab, 0.0f));
  ASSERT_TRUE(sampled.error.has_value());
  EXPECT_EQ(sampled.error->code, Code::kInternal);
}

TEST_F(SamplerTest, AGrammarThatCostsTooMuchIsItsAuthorsFault) {
  for (bool is_mask_dear : {true, false}) {
    auto of = sequence(greedy(), {}, std::make_unique<CostlyMatcher>(is_mask_dear));
    const SampledSequence& sampled = sample(*of, std::vector<float>(kVocab, 0.0f));
    ASSERT_TRUE(sampled.error.has_value());
    EXPECT_EQ(sampled.error->code, Code::kInvalidArgument);
    EXPECT_EQ(sampled.error->where, "grammar");
    EXPECT_TRUE(sampled.tokens.empty()) << "never a token that no grammar allowed";
  }
}

TEST(FastExp, IsCloseToExp) {
  for (float x = 0; x > -79.9f; x -= 0.0137f) {
    const double exact = std::exp(static_cast<double>(x));
    EXPECT_NEAR(exp_nonpositive(x) / exact, 1, 3e-7) << x;
  }
  EXPECT_EQ(exp_nonpositive(0), 1);
  EXPECT_EQ(exp_nonpositive(-81), 0);
  EXPECT_EQ(exp_nonpositive(-kInf), 0);
}

// --- jump-forward --------------------------------------------------------------------------------------------------

const PathMatcher::Path kPath = {{6, 7}, {8}, {9}, {10, 11, 12}, {13}, {14, 15}, {16}, {17}};

TEST_F(SamplerTest, WhatAGrammarForcesComesWithTheTokenBefore) {
  std::vector<float> row = low();
  row[7] = row[11] = row[14] = 1;
  auto of = sequence(greedy(), {}, std::make_unique<PathMatcher>(kPath));
  const std::vector<std::vector<TokenId>> expected = {{7, 8, 9}, {11, 13}, {14, 16, 17}};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const SampledSequence& sampled = sample(*of, row);
    ASSERT_FALSE(sampled.error.has_value());
    std::vector<TokenId> tokens;
    for (const SampledToken& token : sampled.tokens) tokens.push_back(token.token);
    EXPECT_EQ(tokens, expected[i]);
    EXPECT_EQ(sampled.is_complete, i == 2);
    of->tokens.insert(of->tokens.end(), tokens.begin(), tokens.end());
  }
}

TEST_F(SamplerTest, ForcedOrSampledTheTokensAreTheSame) {
  for (int seed = 0; seed < 50; ++seed) {
    generation::Request request = greedy();
    request.sampling.temperature = seed == 0 ? 0 : 1;
    request.sampling.seed = seed;
    const auto [jumped, few] = walk(request, kPath);
    sampler_ = std::make_unique<Sampler>(SamplerOptions{kVocab, 4, 8, {599}, false, false});
    const auto [sampled, many] = walk(request, kPath);
    sampler_ = std::make_unique<Sampler>(SamplerOptions{kVocab, 4, 8, {599}, false, true});
    EXPECT_EQ(jumped, sampled) << seed;
    EXPECT_EQ(few, 3);
    EXPECT_EQ(many, 8);
  }
}

TEST_F(SamplerTest, WhatMustBeSampledIsNotForced) {
  const auto steps = [&](auto change, std::vector<TokenId> ends = {}) {
    generation::Request request = greedy();
    change(request);
    return walk(request, kPath, std::move(ends));
  };
  EXPECT_EQ(steps([](auto& request) { request.want_logprobs = true; }).second, 8);
  EXPECT_EQ(steps([](auto& request) { request.sampling.logit_bias = {{400, 1.0f}}; }).second, 8);
  // An end is sampled, so that the rules for ends hold, and nothing comes after it.
  const auto [tokens, count] = steps([](auto&) {}, {9});
  EXPECT_EQ(tokens.back(), 9);
  EXPECT_EQ(tokens.size(), 3u);
  EXPECT_EQ(count, 2);
  sampler_ = std::make_unique<Sampler>(SamplerOptions{kVocab, 4, 8, {599}, true});
  std::vector<float> row = low();
  row[7] = 1;
  auto of = sequence(greedy(), {}, std::make_unique<PathMatcher>(kPath));
  EXPECT_EQ(sample(*of, row).tokens.size(), 1u) << "a script says each token itself";
}

TEST_F(SamplerTest, ForcedTokensOfAStepAreBounded) {
  PathMatcher::Path path(70, {8});
  const auto [tokens, steps] = walk(greedy(), path);
  EXPECT_EQ(tokens.size(), 70u);
  EXPECT_EQ(steps, 3) << "33, 33 and 4";
  path.assign(120, {8});
  EXPECT_EQ(walk(greedy(), path).first.size(), 100u) << "the answer's limit";
}

TEST_F(SamplerTest, AForcedTextThatCostsTooMuchIsTheRequestsFault) {
  auto matcher = std::make_unique<PathMatcher>(kPath);
  matcher->is_dear = true;
  auto of = sequence(greedy(), {}, std::move(matcher));
  std::vector<float> row = low();
  row[7] = 1;
  const SampledSequence& sampled = sample(*of, row);
  ASSERT_TRUE(sampled.error.has_value());
  EXPECT_EQ(sampled.error->code, Code::kInvalidArgument);
}

// What eight sequences of all kinds get in one step: prompt rows to score, draws, cuts, logprobs, a grammar.
TEST_F(SamplerTest, ThreadsThatShareAStepChangeNothing) {
  constexpr std::size_t kSequences = 8;
  std::vector<std::vector<TokenId>> said[2];
  std::vector<std::vector<float>> logprobs[2];
  base::ThreadPool pool(3);
  for (int shared = 0; shared < 2; ++shared) {
    Sampler sampler({kVocab, kSequences, 2 * kSequences, {599}, false, true, shared == 1 ? &pool : nullptr});
    std::vector<std::unique_ptr<Sequence>> all;
    std::vector<PlannedSequence> planned;
    std::vector<std::uint32_t> logit_rows;
    for (std::size_t i = 0; i < kSequences; ++i) {
      generation::Request request = greedy();
      request.prompt = {5, 6};
      request.sampling.seed = i;
      if (i % 2 == 1) request.sampling.temperature = 1;
      if (i == 3) request.sampling.top_k = 40;
      if (i == 5) request.sampling.top_p = 0.3f;
      request.want_logprobs = i == 1 || i == 3 || i == 4;
      request.top_logprobs = request.want_logprobs ? i : 0;
      auto matcher = i == 6 ? std::make_unique<PathMatcher>(kPath) : nullptr;
      all.push_back(sequence(request, {}, std::move(matcher)));
      const std::uint32_t scored = i == 4 ? 1 : 0;
      planned.push_back({all.back().get(), scored + 1, static_cast<std::uint32_t>(logit_rows.size()), scored, true});
      for (std::uint32_t row = 0; row <= scored; ++row) logit_rows.push_back(row);
    }
    base::Random random(7);
    std::vector<float> logits(logit_rows.size() * kVocab);
    for (float& logit : logits) logit = static_cast<float>(random.unit() * 8 - 4);
    const StepPlan plan{{{}, {}, logit_rows}, planned};
    for (const SampledSequence& sampled : sampler.sample(plan, {logit_rows.size(), kVocab, logits.data()})) {
      EXPECT_FALSE(sampled.error.has_value());
      auto& tokens = said[shared].emplace_back();
      auto& numbers = logprobs[shared].emplace_back();
      for (const auto& some : {sampled.scored, sampled.tokens}) {
        for (const SampledToken& token : some) {
          tokens.push_back(token.token);
          numbers.push_back(token.logprob);
          for (const generation::TokenLogprob& top : token.top) numbers.push_back(top.logprob);
        }
      }
    }
  }
  EXPECT_EQ(said[0], said[1]);
  EXPECT_EQ(logprobs[0], logprobs[1]);
  EXPECT_EQ(said[0][4].size(), 2u) << "a token of the prompt and one of the answer";
  EXPECT_EQ(logprobs[0][3].size(), 4u) << "its own and three others";
  EXPECT_GT(said[0][6].size(), 1u) << "the grammar forces what follows";
}

}  // namespace
}  // namespace autoglm::engine

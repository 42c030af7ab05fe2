// SPDX-License-Identifier: Apache-2.0
// The choice of experts against plain f64 and by hand, ties, groups and NaN; rows picked and added back; and the same
// bits whatever rows run beside a row and on how many threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/row_fixture.h"

namespace autoglm::kernels {
namespace {

class RouteTest : public testing::TestWithParam<Isa> {
 protected:
  struct Routed {
    std::vector<std::uint32_t> experts;
    std::vector<float> weights;
  };

  // Routes `logits` [rows, experts], which stay as they are.
  Routed route(const std::vector<float>& logits, std::size_t rows, RouteJob job) {
    std::vector<float> scores = logits;
    Routed routed{std::vector<std::uint32_t>(rows * job.used), std::vector<float>(rows * job.used)};
    job.logits = f32_tensor(scores.data(), rows, logits.size() / rows);
    job.experts = routed.experts.data();
    job.weights = routed.weights.data();
    fixture_.rows.route(job);
    return routed;
  }

  RowFixture fixture_{GetParam(), 2};
};
INSTANTIATE_TEST_SUITE_P(Isa, RouteTest, testing::ValuesIn(available_isas()),
                         [](const auto& suite) { return isa_test_name(suite.param); });

using Experts = std::vector<std::uint32_t>;

std::vector<double> exact_scores(const float* x, std::size_t experts, Gating gating) {
  std::vector<double> scores(experts);
  double total = 0;
  for (std::size_t e = 0; e < experts; ++e) {
    scores[e] = gating == Gating::kSigmoid ? 1 / (1 + std::exp(-double{x[e]})) : std::exp(double{x[e]});
    total += scores[e];
  }
  if (gating == Gating::kSoftmax) {
    for (double& score : scores) score /= total;
  }
  return scores;
}

TEST_P(RouteTest, WeightsFollowTheirFormula) {
  base::Random random(7);
  for (const std::size_t experts : {1, 2, 6, 16, 33, 160}) {
    const std::vector<float> logits = random_floats(random, 5 * experts, 6);
    const std::vector<float> bias = random_floats(random, experts, 0.1);
    for (const Gating gating : {Gating::kSoftmax, Gating::kSigmoid}) {
      for (const bool is_normalised : {false, true}) {
        const std::size_t used = std::min<std::size_t>(experts, 8);
        const Routed got =
            route(logits, 5,
                  {.bias = bias.data(), .gating = gating, .used = used, .is_normalised = is_normalised, .scale = 2.5f});
        for (std::size_t row = 0; row < 5; ++row) {
          const std::vector<double> scores = exact_scores(logits.data() + row * experts, experts, gating);
          Experts order(experts);
          std::iota(order.begin(), order.end(), 0u);
          std::ranges::sort(order, std::greater(), [&](std::uint32_t e) { return scores[e] + double{bias[e]}; });
          order.resize(used);
          std::ranges::sort(order);
          double total = 0;
          for (const std::uint32_t e : order) total += scores[e];
          for (std::size_t i = 0; i < used; ++i) {
            ASSERT_EQ(got.experts[row * used + i], order[i]);
            const double exact = scores[order[i]] / (is_normalised ? total : 1) * 2.5;
            // An exponential within 2 units, sums of as many terms as there are experts, and four more operations.
            EXPECT_NEAR(got.weights[row * used + i], exact, (static_cast<double>(2 * experts) + 16) * 0x1p-24 * exact);
          }
        }
      }
    }
  }
}

TEST_P(RouteTest, TheBiasChoosesAndDoesNotWeigh) {
  const std::vector<float> logits = {0.0f, 1.0f, 2.0f, 3.0f};
  const std::vector<float> bias = {5.0f, 0.0f, 0.0f, 0.0f};
  const Routed got = route(logits, 1, {.bias = bias.data(), .gating = Gating::kSigmoid, .used = 2});
  EXPECT_EQ(got.experts, (Experts{0, 3}));
  EXPECT_FLOAT_EQ(got.weights[0], 0.5f);
  EXPECT_FLOAT_EQ(got.weights[1], 1 / (1 + std::exp(-3.0f)));
}

TEST_P(RouteTest, OfEqualOnesThoseInFront) {
  EXPECT_EQ(route(std::vector<float>(7, 1.0f), 1, {.used = 3}).experts, (Experts{0, 1, 2}));
  EXPECT_EQ(route({1, 2, 2, 2}, 1, {.used = 2}).experts, (Experts{1, 2}));
}

TEST_P(RouteTest, OnlyTheBestGroupsAreChosenFrom) {
  // Sums of the two best: 5 + 0, 3 + 3, 4 + 1, 2 + 2: of the first and the third, which are equal, the one in front.
  const std::vector<float> logits = {5, 0, -9, 3, 3, -9, 4, 1, -9, 2, 2, -9};
  const auto raw = [&](std::size_t groups_used, std::size_t used) {
    std::vector<float> none(12, 0.0f);  // every sigmoid is a half: the bias alone decides
    return route(none, 1,
                 {.bias = logits.data(),
                  .gating = Gating::kSigmoid,
                  .groups = 4,
                  .groups_used = groups_used,
                  .used = used})
        .experts;
  };
  EXPECT_EQ(raw(1, 2), (Experts{3, 4}));
  EXPECT_EQ(raw(2, 3), (Experts{0, 3, 4}));
  EXPECT_EQ(raw(2, 6), (Experts{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(raw(3, 2), (Experts{0, 6}));
  EXPECT_EQ(raw(4, 12).size(), 12u);
}

TEST_P(RouteTest, WithoutNumbersTheChoiceIsStillOne) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> bad[] = {std::vector<float>(8, nan),
                                    {nan, 1, nan, 2, 3, nan, 0, nan},
                                    std::vector<float>(8, inf),
                                    std::vector<float>(8, -inf),
                                    {inf, nan, -inf, inf, nan, nan, 1, -inf}};
  for (const std::vector<float>& logits : bad) {
    for (const Gating gating : {Gating::kSoftmax, Gating::kSigmoid}) {
      for (const std::size_t groups : {1, 2, 4}) {
        const std::size_t groups_used = (groups + 1) / 2;
        const std::size_t used = 8 / groups * groups_used;
        const Experts experts =
            route(logits, 1,
                  {.bias = logits.data(), .gating = gating, .groups = groups, .groups_used = groups_used, .used = used})
                .experts;
        ASSERT_EQ(experts.size(), used);
        for (std::size_t i = 0; i < used; ++i) {
          EXPECT_LT(experts[i], 8u);
          if (i > 0) {
            EXPECT_GT(experts[i], experts[i - 1]);
          }
        }
      }
    }
  }
}

TEST_P(RouteTest, ARowIsTheSameInAnyCompany) {
  base::Random random(3);
  const std::vector<float> logits = random_floats(random, 600 * 24, 5);
  const RouteJob job{.gating = Gating::kSigmoid, .groups = 4, .groups_used = 2, .used = 5, .is_normalised = true};
  const Routed all = route(logits, 600, job);
  for (const std::size_t row : {0, 1, 299, 599}) {
    const Routed one = route({logits.begin() + static_cast<std::ptrdiff_t>(row * 24),
                              logits.begin() + static_cast<std::ptrdiff_t>((row + 1) * 24)},
                             1, job);
    EXPECT_TRUE(std::equal(one.experts.begin(), one.experts.end(), all.experts.begin() + row * 5));
    EXPECT_TRUE(same_bits(one.weights.data(), all.weights.data() + row * 5, 5));
  }
}

TEST_P(RouteTest, PicksRowsInTheFormsAskedFor) {
  base::Random random(9);
  const std::size_t columns = 96;
  std::vector<float> x = random_floats(random, 40 * columns, 3);
  const Activations in = fixture_.rows.prepare(view(x, 40), {.q8 = true, .bf16 = true});
  const std::vector<std::uint32_t> rows = {39, 0, 7, 8};
  const Activations out = fixture_.rows.pick(in, rows, {.q8 = true, .bf16 = true, .f32 = true});
  ASSERT_EQ(out.rows, 4u);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_TRUE(same_bits(out.f32 + i * columns, x.data() + rows[i] * columns, columns));
    EXPECT_EQ(std::memcmp(out.q8 + i * columns, in.q8 + rows[i] * columns, columns), 0);
    EXPECT_EQ(std::memcmp(out.bf16 + i * columns, in.bf16 + rows[i] * columns, 2 * columns), 0);
    EXPECT_TRUE(same_bits(out.q8_scale + i * 3, in.q8_scale + rows[i] * 3, 3));
    EXPECT_TRUE(same_bits(out.q8_sum + i * 3, in.q8_sum + rows[i] * 3, 3));
  }
  const Activations some = fixture_.rows.pick(in, rows, {.q8 = true});
  EXPECT_EQ(some.f32, nullptr);
  EXPECT_EQ(some.bf16, nullptr);
  EXPECT_EQ(fixture_.rows.pick(in, {}, {.q8 = true}).rows, 0u);
}

TEST_P(RouteTest, AddsEachRowToItsOwnTimesItsWeight) {
  base::Random random(4);
  const std::size_t columns = 77;
  const std::vector<float> before = random_floats(random, 5 * columns, 1);
  const std::vector<float> added = random_floats(random, 3 * columns, 1);
  std::vector<float> x = before;
  std::vector<float> y = added;
  const std::vector<std::uint32_t> rows = {4, 0, 3};
  const std::vector<float> weights = {0.5f, -3.0f, 0.3f};
  fixture_.rows.add_scaled(view(x, 5), view(y, 3), rows, weights.data());
  for (std::size_t i = 0; i < 5 * columns; ++i) {
    const auto at = std::ranges::find(rows, i / columns) - rows.begin();
    if (at == 3) {
      EXPECT_EQ(x[i], before[i]);
    } else {
      const auto place = static_cast<std::size_t>(at);
      EXPECT_EQ(x[i], before[i] + added[place * columns + i % columns] * weights[place]);
    }
  }
}

}  // namespace
}  // namespace autoglm::kernels

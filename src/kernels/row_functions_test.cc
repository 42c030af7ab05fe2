// SPDX-License-Identifier: Apache-2.0
// The functions of each instruction set's table: accuracy of the elementary functions, int8 blocks, 16-bit rounding.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "kernels/half.h"
#include "kernels/row_fixture.h"

namespace autoglm::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class RowFunctions : public testing::TestWithParam<Isa> {
 protected:
  const RowTable& table_ = row_table(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Isa, RowFunctions, testing::ValuesIn(available_isas()),
                         [](const auto& suite) { return isa_test_name(suite.param); });

TEST_P(RowFunctions, ExponentialIsWithinOneAndAHalfUlp) {
  std::vector<float> x;
  for (int i = 0; i <= 350000; ++i) x.push_back(std::min(88.0f, -87.0f + 5e-4f * static_cast<float>(i)));
  for (float tiny = 1e-30f; tiny < 1; tiny *= 1.7f) x.insert(x.end(), {tiny, -tiny});
  std::vector<float> y(x.size());
  table_.exponential(x.data(), x.size(), y.data());
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) worst = std::max(worst, ulps(y[i], std::exp(static_cast<double>(x[i]))));
  EXPECT_LE(worst, 1.5);
}

TEST_P(RowFunctions, ExponentialKeepsItsEdges) {
  const std::vector<float> x = {0.0f, -0.0f, -87.5f, -kInfinity, 89.0f, kInfinity, kNan, -1e30f, 1e30f};
  std::vector<float> y(x.size());
  table_.exponential(x.data(), x.size(), y.data());
  EXPECT_EQ(y[0], 1.0f);
  EXPECT_EQ(y[1], 1.0f);
  EXPECT_EQ(y[2], 0.0f);
  EXPECT_EQ(y[3], 0.0f);
  EXPECT_EQ(y[4], y[5]);  // saturated at e^88
  EXPECT_NEAR(y[5] / std::exp(88.0), 1.0, 1e-6);
  EXPECT_TRUE(std::isnan(y[6]));
  EXPECT_EQ(y[7], 0.0f);
  EXPECT_EQ(y[8], y[5]);
}

TEST_P(RowFunctions, TanhIsWithinTwoAndAHalfUlp) {
  std::vector<float> x;
  for (int i = -40000; i <= 40000; ++i) x.push_back(5e-4f * static_cast<float>(i));
  for (float tiny = 1e-20f; tiny < 1; tiny *= 1.3f) x.insert(x.end(), {tiny, -tiny});
  std::vector<float> y = x;
  table_.softcap(y.data(), 1.0f, y.size());
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (x[i] != 0) worst = std::max(worst, ulps(y[i], std::tanh(static_cast<double>(x[i]))));
  }
  EXPECT_LE(worst, 2.5);
}

TEST_P(RowFunctions, GeluFollowsTheErrorFunction) {
  std::vector<float> x;
  for (int i = -16000; i <= 16000; ++i) x.push_back(1e-3f * static_cast<float>(i));
  for (float tiny = 1e-20f; tiny < 1; tiny *= 1.7f) x.insert(x.end(), {tiny, -tiny});
  std::vector<float> y(x.size());
  table_.gelu(x.data(), x.size(), y.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double v = x[i];
    const double exact = 0.5 * v * std::erfc(-v / std::sqrt(2.0));
    // The exponent -x^2 / 2 + p(t) has a few roundings of its size, below zero they count in full; the polynomial has
    // 2e-7. Below -13 the exponential ends at zero.
    const double bound = ((v < 0 ? v * v : 0) + 12) * 0x1p-23 * std::fabs(exact);
    EXPECT_NEAR(y[i], exact, v < -13 ? 1e-36 : bound) << v;
  }
}

TEST_P(RowFunctions, GeluKeepsItsEdges) {
  const std::vector<float> x = {0.0f, 50.0f, -50.0f, kInfinity, kNan, 1e30f, -1e18f};
  std::vector<float> y(x.size());
  table_.gelu(x.data(), x.size(), y.data());
  EXPECT_EQ(y[0], 0.0f);
  EXPECT_EQ(y[1], 50.0f);
  EXPECT_EQ(y[2], 0.0f);
  EXPECT_EQ(y[3], kInfinity);
  EXPECT_TRUE(std::isnan(y[4]));
  EXPECT_EQ(y[5], 1e30f);
  EXPECT_EQ(y[6], 0.0f);
}

TEST_P(RowFunctions, GatesFollowTheirFormulas) {
  std::vector<float> x;
  for (int i = -12000; i <= 12000; ++i) x.push_back(1e-3f * static_cast<float>(i));
  const std::vector<float> ones(x.size(), 1.0f);
  std::vector<float> silu(x.size());
  std::vector<float> gelu(x.size());
  table_.silu_gate(x.data(), ones.data(), x.size(), silu.data());
  table_.gelu_gate(x.data(), ones.data(), x.size(), gelu.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double v = x[i];
    const double u = std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v);
    // Relative: the exponent's own rounding (|u| 2^-23) comes on top of a few roundings.
    const double exact_silu = v / (1 + std::exp(-v));
    const double exact_gelu = v / (1 + std::exp(-2 * u));
    EXPECT_NEAR(silu[i], exact_silu, (std::fabs(v) + 8) * 0x1p-23 * std::fabs(exact_silu)) << v;
    EXPECT_NEAR(gelu[i], exact_gelu, (4 * std::fabs(u) + 8) * 0x1p-23 * std::fabs(exact_gelu) + 1e-37) << v;
    EXPECT_NEAR(gelu[i], 0.5 * v * (1 + std::tanh(u)), 1e-6 * (1 + std::fabs(v))) << v;
  }
}

TEST_P(RowFunctions, Int8BlocksAreNearestAndEqualOnEveryInstructionSet) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    base::Random random(seed);
    const std::size_t columns = 32 * (1 + random.below(20));
    const std::vector<float> x = random_floats(random, columns, std::pow(10.0, random.unit() * 8 - 4));
    std::vector<std::int8_t> q8(columns);
    std::vector<std::int8_t> reference(columns);
    std::vector<float> scale(columns / 32);
    std::vector<float> sum(columns / 32);
    std::vector<float> reference_scale(columns / 32);
    std::vector<float> reference_sum(columns / 32);
    table_.quantize(x.data(), columns, q8.data(), scale.data(), sum.data());
    scalar_row_table().quantize(x.data(), columns, reference.data(), reference_scale.data(), reference_sum.data());
    EXPECT_EQ(q8, reference);
    EXPECT_TRUE(same_bits(scale.data(), reference_scale.data(), scale.size()));
    EXPECT_TRUE(same_bits(sum.data(), reference_sum.data(), sum.size()));
    for (std::size_t block = 0; block < columns / 32; ++block) {
      int total = 0;
      int largest = 0;
      for (std::size_t i = block * 32; i < block * 32 + 32; ++i) {
        // Half a step, and the rounding of x / scale near a tie.
        EXPECT_LE(std::fabs(static_cast<double>(scale[block]) * q8[i] - x[i]), scale[block] * (0.5 + 127 * 0x1p-22));
        total += q8[i];
        largest = std::max(largest, std::abs(static_cast<int>(q8[i])));
      }
      EXPECT_EQ(largest, 127);
      EXPECT_EQ(sum[block], scale[block] * static_cast<float>(total));
    }
  }
}

TEST_P(RowFunctions, Int8TiesGoToEven) {
  std::vector<float> x(32);
  x[0] = 127.0f;  // scale 1
  for (int i = 1; i < 32; ++i) x[static_cast<std::size_t>(i)] = static_cast<float>(i) - 16.5f;
  std::vector<std::int8_t> q8(32);
  float scale = 0;
  float sum = 0;
  table_.quantize(x.data(), 32, q8.data(), &scale, &sum);
  EXPECT_EQ(scale, 1.0f);
  EXPECT_EQ(q8[16], 0);   // -0.5
  EXPECT_EQ(q8[17], 0);   // 0.5
  EXPECT_EQ(q8[18], 2);   // 1.5
  EXPECT_EQ(q8[19], 2);   // 2.5
  EXPECT_EQ(q8[14], -2);  // -2.5
  EXPECT_EQ(q8[13], -4);  // -3.5
}

TEST_P(RowFunctions, Int8BlocksThatAreNotNumbersOrTinyAreContained) {
  struct Case {
    float value;
    bool nan_scale;
  };
  for (const Case c : {Case{kNan, true}, Case{kInfinity, true}, Case{-kInfinity, true}, Case{1e-38f, false},
                       Case{std::numeric_limits<float>::denorm_min(), false}, Case{0.0f, false}, Case{-0.0f, false}}) {
    for (std::size_t at : {std::size_t{0}, std::size_t{13}, std::size_t{31}}) {
      std::vector<float> x(96, 0.0f);
      x[0] = x[95] = 2.0f;
      x[32 + at] = c.value;
      std::vector<std::int8_t> q8(96, 55);
      std::vector<float> scale(3, -1.0f);
      std::vector<float> sum(3, -1.0f);
      table_.quantize(x.data(), 96, q8.data(), scale.data(), sum.data());
      EXPECT_EQ(std::isnan(scale[1]), c.nan_scale) << c.value;
      EXPECT_EQ(std::isnan(sum[1]), c.nan_scale) << c.value;
      if (!c.nan_scale) EXPECT_EQ(scale[1], 0.0f);
      for (std::size_t i = 32; i < 64; ++i) EXPECT_EQ(q8[i], 0) << c.value;
      EXPECT_EQ(q8[0], 127);  // the neighbours are untouched
      EXPECT_EQ(q8[95], 127);
      EXPECT_EQ(scale[0], 2.0f / 127);
    }
  }
  std::vector<float> largest(32, std::numeric_limits<float>::max());
  std::vector<std::int8_t> q8(32);
  float scale = 0;
  float sum = 0;
  table_.quantize(largest.data(), 32, q8.data(), &scale, &sum);
  EXPECT_EQ(q8[7], 127);
}

TEST_P(RowFunctions, SixteenBitRoundingMatchesTheReference) {
  base::Random random(7);
  std::vector<float> x = {0.0f,     -0.0f,    kInfinity, -kInfinity, kNan,    65504.0f,
                          65519.0f, 65520.0f, 1e-8f,     6e-8f,      5.97e-8f};
  for (int i = 0; i < 40000; ++i) {
    const auto bits = static_cast<std::uint32_t>(random.bits());
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    x.push_back(value);
    x.push_back(static_cast<float>((2 * random.unit() - 1) * std::pow(2.0, 32 * random.unit() - 26)));
  }
  for (std::size_t columns : {x.size(), std::size_t{1}, std::size_t{5}, std::size_t{16}, std::size_t{23}}) {
    std::vector<std::uint16_t> f16(columns + 1, 0xabcd);
    std::vector<std::uint16_t> bf16(columns + 1, 0xabcd);
    table_.round_f16(x.data(), columns, f16.data());
    table_.round_bf16(x.data(), columns, bf16.data());
    for (std::size_t i = 0; i < columns; ++i) {
      ASSERT_EQ(f16[i], f16_from_f32(x[i])) << x[i];
      ASSERT_EQ(bf16[i], bf16_from_f32(x[i])) << x[i];
    }
    EXPECT_EQ(f16[columns], 0xabcd);
    EXPECT_EQ(bf16[columns], 0xabcd);
  }
}

}  // namespace
}  // namespace autoglm::kernels

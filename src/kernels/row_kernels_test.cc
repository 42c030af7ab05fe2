// SPDX-License-Identifier: Apache-2.0
// Norms, gates, prepared forms, embeddings and caps against plain f64, at odd sizes; and the same bits whatever rows
// run beside a row and on how many threads.
#include "kernels/row_kernels.h"

#include <gtest/gtest.h>

#include "kernels/half.h"
#include "kernels/row_fixture.h"

namespace autoglm::kernels {
namespace {

constexpr double kUnit = 0x1p-24;  // half a unit in the last place of 1: the rounding of one operation

class RowKernelsTest : public testing::TestWithParam<Isa> {
 protected:
  RowFixture fixture_{GetParam(), 2};
};
INSTANTIATE_TEST_SUITE_P(Isa, RowKernelsTest, testing::ValuesIn(available_isas()),
                         [](const auto& suite) { return isa_test_name(suite.param); });

double exact_rms(const float* x, std::size_t columns, double eps) {
  double sum = 0;
  for (std::size_t i = 0; i < columns; ++i) sum += static_cast<double>(x[i]) * x[i];
  return std::sqrt(sum / static_cast<double>(columns) + eps);
}

TEST_P(RowKernelsTest, RmsNormFollowsItsFormulaAtEveryWidth) {
  for (std::size_t columns : {1, 2, 15, 16, 17, 31, 33, 72, 96, 576, 1153}) {
    base::Random random(columns);
    std::vector<float> x = random_floats(random, 3 * columns, 4);
    const std::vector<float> weight = random_floats(random, columns, 2);
    fixture_.arena.reset();
    const Activations out = fixture_.rows.rms_norm_prepare(view(x, 3), weight.data(), 1e-5f, {});
    EXPECT_EQ(out.rows, 3u);
    EXPECT_EQ(out.columns, columns);
    EXPECT_EQ(out.q8, nullptr);
    EXPECT_EQ(out.bf16, nullptr);
    for (std::size_t i = 0; i < 3 * columns; ++i) {
      const double rms = exact_rms(x.data() + i / columns * columns, columns, 1e-5f);
      const double exact = x[i] / rms * weight[i % columns];
      // The sum of squares has all its terms of one sign: columns roundings at most, halved by the root; five more.
      EXPECT_NEAR(out.f32[i], exact, (static_cast<double>(columns) / 2 + 5) * kUnit * std::fabs(exact)) << columns;
    }
  }
}

TEST_P(RowKernelsTest, LayerNormFollowsItsFormulaAtEveryWidth) {
  for (std::size_t columns : {1, 2, 15, 16, 17, 31, 33, 72, 96, 384, 1153}) {
    base::Random random(columns);
    std::vector<float> x = random_floats(random, 3 * columns, 4);
    for (float& value : x) value += 10;  // a mean that counts
    const std::vector<float> before = x;
    const std::vector<float> weight = random_floats(random, columns, 2);
    const std::vector<float> bias = random_floats(random, columns, 2);
    fixture_.arena.reset();
    const Activations out = fixture_.rows.layer_norm_prepare(view(x, 3), weight.data(), bias.data(), 1e-5f, {});
    EXPECT_EQ(out.f32, x.data());
    EXPECT_EQ(out.rows, 3u);
    for (std::size_t row = 0; row < 3; ++row) {
      const float* from = before.data() + row * columns;
      double mean = 0, variance = 0;
      for (std::size_t i = 0; i < columns; ++i) mean += from[i] / static_cast<double>(columns);
      for (std::size_t i = 0; i < columns; ++i)
        variance += (from[i] - mean) * (from[i] - mean) / static_cast<double>(columns);
      const double root = std::sqrt(variance + 1e-5f);
      for (std::size_t i = 0; i < columns; ++i) {
        const double exact = (from[i] - mean) / root * weight[i] + bias[i];
        // The mean is off by as many roundings of the largest value (14) as terms, which the root magnifies; the rest
        // as in RmsNorm.
        const double roundings = static_cast<double>(columns) + 8;
        const double scale = 14 / root * std::fabs(weight[i]) * 2 + std::fabs(exact) + std::fabs(bias[i]);
        EXPECT_NEAR(x[row * columns + i], exact, roundings * kUnit * scale) << columns;
      }
    }
  }
}

TEST_P(RowKernelsTest, ARowsNormAndGeluDoNotDependOnItsCompany) {
  base::Random random(12);
  const std::size_t columns = 32 * 73;
  std::vector<float> x = random_floats(random, 70 * columns, 3);
  const std::vector<float> weight = random_floats(random, columns, 1);
  const std::vector<float> bias = random_floats(random, columns, 1);
  std::vector<float> alone(x.begin() + 5 * columns, x.begin() + 6 * columns);
  const Activations many = fixture_.rows.layer_norm_prepare(view(x, 70), weight.data(), bias.data(), 1e-5f, {});
  const Activations one = fixture_.rows.layer_norm_prepare(view(alone, 1), weight.data(), bias.data(), 1e-5f, {});
  EXPECT_TRUE(same_bits(many.f32 + 5 * columns, one.f32, columns));
  const Activations many_gelu = fixture_.rows.gelu_prepare(view(x, 70), {.q8 = true});
  const Activations one_gelu = fixture_.rows.gelu_prepare(view(alone, 1), {.q8 = true});
  EXPECT_TRUE(same_bits(many_gelu.f32 + 5 * columns, one_gelu.f32, columns));
  EXPECT_EQ(std::memcmp(many_gelu.q8 + 5 * columns, one_gelu.q8, columns), 0);
}

TEST_P(RowKernelsTest, NormOfZerosIsZeroAndEpsCounts) {
  std::vector<float> x(64, 0.0f);
  x[32] = 1e-3f;
  const std::vector<float> weight(32, 1.0f);
  const Activations out = fixture_.rows.rms_norm_prepare(view(x, 2), weight.data(), 1e-2f, {});
  for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(out.f32[i], 0.0f);
  EXPECT_NEAR(out.f32[32], 1e-3 / std::sqrt(1e-6 / 32 + 1e-2), 1e-8);
}

TEST_P(RowKernelsTest, PreparedFormsAreTheFormsOfTheF32Rows) {
  base::Random random(5);
  for (std::size_t rows : {1, 2, 3, 70}) {
    fixture_.arena.reset();
    const std::size_t columns = 32 * 19;
    std::vector<float> x = random_floats(random, rows * columns, 3);
    std::vector<float> up = random_floats(random, rows * columns, 3);
    const std::vector<float> weight = random_floats(random, columns, 1);
    const ActivationForms both{.q8 = true, .bf16 = true};
    for (const Activations& out :
         {fixture_.rows.prepare(view(x, rows), both),
          fixture_.rows.rms_norm_prepare(view(x, rows), weight.data(), 1e-6f, both),
          fixture_.rows.gated_prepare(view(x, rows), view(up, rows), Activation::kSilu, both)}) {
      std::vector<std::int8_t> q8(columns);
      std::vector<float> scale(columns / 32);
      std::vector<float> sum(columns / 32);
      for (std::size_t row = 0; row < rows; ++row) {
        const float* f32 = out.f32 + row * columns;
        scalar_row_table().quantize(f32, columns, q8.data(), scale.data(), sum.data());
        EXPECT_EQ(std::memcmp(q8.data(), out.q8 + row * columns, columns), 0);
        EXPECT_TRUE(same_bits(scale.data(), out.q8_scale + row * columns / 32, columns / 32));
        EXPECT_TRUE(same_bits(sum.data(), out.q8_sum + row * columns / 32, columns / 32));
        for (std::size_t i = 0; i < columns; ++i) ASSERT_EQ(out.bf16[row * columns + i], bf16_from_f32(f32[i]));
      }
    }
  }
}

TEST_P(RowKernelsTest, PrepareReadsRowsThatLieApart) {
  std::vector<float> x(2 * 100);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  Tensor apart = f32_tensor(x.data(), 2, 64);
  apart.row_stride = 100 * sizeof(float);
  const Activations out = fixture_.rows.prepare(apart, {.q8 = true});
  EXPECT_EQ(out.f32[63], 63.0f);
  EXPECT_EQ(out.f32[64], 100.0f);
  EXPECT_EQ(out.q8[127], 127);
}

TEST_P(RowKernelsTest, GatesMultiplyWhatTheyLetThrough) {
  for (std::size_t columns : {1, 13, 16, 104, 2047, 2049, 4500}) {
    base::Random random(columns);
    std::vector<float> gate = random_floats(random, 2 * columns, 6);
    std::vector<float> up = random_floats(random, 2 * columns, 6);
    fixture_.arena.reset();
    const Activations silu = fixture_.rows.gated_prepare(view(gate, 2), view(up, 2), Activation::kSilu, {});
    const Activations gelu = fixture_.rows.gated_prepare(view(gate, 2), view(up, 2), Activation::kGeluTanh, {});
    for (std::size_t i = 0; i < 2 * columns; ++i) {
      const double g = gate[i];
      const double u = std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g);
      EXPECT_NEAR(silu.f32[i], g / (1 + std::exp(-g)) * up[i], 32 * kUnit * std::fabs(g * up[i]));
      EXPECT_NEAR(gelu.f32[i], 0.5 * g * (1 + std::tanh(u)) * up[i], 32 * kUnit * std::fabs(g * up[i]));
    }
  }
}

TEST_P(RowKernelsTest, ResidualsGainNormedOrPlainRows) {
  for (std::size_t columns : {7, 16, 40, 577}) {
    base::Random random(columns);
    const std::vector<float> before = random_floats(random, 2 * columns, 3);
    std::vector<float> y = random_floats(random, 2 * columns, 3);
    const std::vector<float> weight = random_floats(random, columns, 2);
    std::vector<float> normed = before;
    std::vector<float> plain = before;
    fixture_.rows.add_norm(view(normed, 2), view(y, 2), weight.data(), 1e-6f);
    fixture_.rows.add_norm(view(plain, 2), view(y, 2), nullptr, 1e-6f);
    for (std::size_t i = 0; i < 2 * columns; ++i) {
      const double added = y[i] / exact_rms(y.data() + i / columns * columns, columns, 1e-6) * weight[i % columns];
      const double bound = (static_cast<double>(columns) / 2 + 6) * kUnit * (std::fabs(added) + std::fabs(before[i]));
      EXPECT_NEAR(normed[i], before[i] + added, bound);
      EXPECT_EQ(plain[i], before[i] + y[i]);
    }
  }
}

TEST_P(RowKernelsTest, EmbeddingsAreTheStoredRowsTimesTheScale) {
  base::Random random(2);
  std::vector<std::uint16_t> stored(10 * 50);
  for (std::uint16_t& value : stored) value = f16_from_f32(static_cast<float>(random.unit() - 0.5));
  const Tensor table{DType::kF16, 10, 50, 100, reinterpret_cast<std::byte*>(stored.data())};
  const std::vector<std::int32_t> ids = {9, 0, 0, 4};
  for (float scale : {1.0f, 25.3f}) {
    std::vector<float> out(4 * 50);
    fixture_.rows.embed(table, ids, scale, view(out, 4));
    for (std::size_t i = 0; i < out.size(); ++i) {
      EXPECT_EQ(out[i], f32_from_f16(stored[static_cast<std::size_t>(ids[i / 50]) * 50 + i % 50]) * scale);
    }
  }
}

TEST_P(RowKernelsTest, SoftcapBoundsAndKeepsSmallValues) {
  for (std::size_t columns : {3, 100, 8191, 20000}) {
    base::Random random(columns);
    std::vector<float> x = random_floats(random, 2 * columns, 90);
    x[0] = 1e-6f;
    const std::vector<float> before = x;
    fixture_.rows.softcap(view(x, 2), 30.0f);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double exact = 30 * std::tanh(before[i] / 30.0);
      EXPECT_NEAR(x[i], exact, 10 * kUnit * std::fabs(exact));
    }
  }
}

// The law of ops.h: what a row gives does not depend on the rows beside it or on the threads.
TEST_P(RowKernelsTest, RowsAreBitEqualAloneAndTogether) {
  base::Random random(8);
  const std::size_t columns = 32 * 70;
  const std::size_t rows = 41;
  std::vector<float> x = random_floats(random, rows * columns, 3);
  std::vector<float> up = random_floats(random, rows * columns, 3);
  const std::vector<float> weight = random_floats(random, columns, 1);
  RowFixture alone(GetParam(), 1);
  for (int threads : {1, 2, 3}) {
    RowFixture together(GetParam(), threads);
    const Activations norm = together.rows.rms_norm_prepare(view(x, rows), weight.data(), 1e-6f, {.q8 = true});
    const Activations gated = together.rows.gated_prepare(view(x, rows), view(up, rows), Activation::kGeluTanh, {});
    std::vector<float> sums = x;
    together.rows.add_norm(view(sums, rows), view(up, rows), weight.data(), 1e-6f);
    for (std::size_t row = 0; row < rows; ++row) {
      alone.arena.reset();
      const Tensor one = view(x, rows).slice(row, 1);
      const Tensor one_up = view(up, rows).slice(row, 1);
      const Activations one_norm = alone.rows.rms_norm_prepare(one, weight.data(), 1e-6f, {.q8 = true});
      const Activations one_gated = alone.rows.gated_prepare(one, one_up, Activation::kGeluTanh, {});
      std::vector<float> one_sum(x.begin() + static_cast<std::ptrdiff_t>(row * columns),
                                 x.begin() + static_cast<std::ptrdiff_t>((row + 1) * columns));
      alone.rows.add_norm(view(one_sum, 1), one_up, weight.data(), 1e-6f);
      EXPECT_TRUE(same_bits(one_norm.f32, norm.f32 + row * columns, columns));
      EXPECT_EQ(std::memcmp(one_norm.q8, norm.q8 + row * columns, columns), 0);
      EXPECT_TRUE(same_bits(one_gated.f32, gated.f32 + row * columns, columns));
      EXPECT_TRUE(same_bits(one_sum.data(), sums.data() + row * columns, columns));
    }
  }
}

using RowKernelsDeathTest = RowKernelsTest;
INSTANTIATE_TEST_SUITE_P(Isa, RowKernelsDeathTest, testing::ValuesIn({Isa::kScalar}),
                         [](const auto& suite) { return isa_test_name(suite.param); });

TEST_P(RowKernelsDeathTest, WrongShapesAreCaught) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  std::vector<float> a(64);
  std::vector<float> b(66);
  std::vector<float> table(64);
  const std::vector<std::int32_t> ids = {2};
  EXPECT_DEATH(fixture_.rows.add_norm(view(a, 2), view(b, 2), nullptr, 0), "beside");
  EXPECT_DEATH(fixture_.rows.prepare(view(b, 2), {.q8 = true}), "blocks of 32");
  EXPECT_DEATH(fixture_.rows.embed(view(table, 2), ids, 1, view(a, 2).slice(0, 1)), "id 2 of 2");
}

}  // namespace
}  // namespace autoglm::kernels

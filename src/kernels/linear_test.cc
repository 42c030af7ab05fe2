// SPDX-License-Identifier: Apache-2.0
// Linear layers of every instruction set, weight type and Compute: against a reference in double precision within a
// derived bound, and bit for bit against themselves in other company.
#include "kernels/linear.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "base/random.h"
#include "kernels/half.h"
#include "kernels/quant_blocks.h"

namespace autoglm::kernels {
namespace {

constexpr double kRound = 0x1p-24;  // relative error of one f32 rounding

// Weights as stored, random in every bit that may be: f16 factors are kept small and finite.
struct Stored {
  DType type;
  std::size_t rows, columns;
  std::vector<std::byte> bytes;

  Tensor tensor() { return {type, rows, columns, row_bytes(type, columns), bytes.data()}; }
};

std::vector<std::size_t> factor_offsets(DType type) {
  switch (type) {
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    default:
      return {0};
  }
}

Stored random_weights(DType type, std::size_t rows, std::size_t columns, base::Random& random) {
  Stored stored{type, rows, columns, std::vector<std::byte>(rows * row_bytes(type, columns))};
  if (!is_quantized(type)) {
    for (std::size_t i = 0; i < rows * columns; ++i) {
      const auto value = static_cast<float>(random.unit() * 2 - 1);
      if (type == DType::kF32) {
        std::memcpy(stored.bytes.data() + 4 * i, &value, 4);
      } else {
        const std::uint16_t half = type == DType::kF16 ? f16_from_f32(value) : bf16_from_f32(value);
        std::memcpy(stored.bytes.data() + 2 * i, &half, 2);
      }
    }
    return stored;
  }
  for (std::byte& byte : stored.bytes) byte = static_cast<std::byte>(random.bits());
  for (std::size_t at = 0; at < stored.bytes.size(); at += traits(type).block_bytes) {
    for (std::size_t offset : factor_offsets(type)) {
      const std::uint16_t half = f16_from_f32(static_cast<float>(random.unit() * 0.02 - 0.01));
      std::memcpy(stored.bytes.data() + at + offset, &half, 2);
    }
  }
  return stored;
}

// Values of the weights, and for each the largest magnitude that a sum over it passes through: |w| + 2 |minimum|.
struct Values {
  std::vector<float> weight, magnitude;
};

Values values_of(const Stored& stored) {
  const std::size_t count = stored.rows * stored.columns;
  Values values{std::vector<float>(count), std::vector<float>(count)};
  dequantize(stored.type, stored.bytes.data(), values.weight.data(), count);
  for (std::size_t i = 0; i < count; ++i) values.magnitude[i] = std::abs(values.weight[i]);
  if (!is_quantized(stored.type)) return values;
  const std::size_t elements = traits(stored.type).block_elements;
  const std::size_t group = stored.type == DType::kQ2_K ? 16 : 32;
  DecodedBlock block;
  for (std::size_t i = 0; i < count; ++i) {
    if (i % elements == 0)
      decode_block(stored.type, stored.bytes.data() + i / elements * traits(stored.type).block_bytes, block);
    if (block.dmin != 0) {
      values.magnitude[i] +=
          2 * std::abs(f32_from_f16(block.dmin) * static_cast<float>(block.min[i % elements / group]));
    }
  }
  return values;
}

// Activations in every form, made here so that the test stands on linear layers alone.
struct Prepared {
  std::size_t rows, columns;
  std::vector<float> f32, scale, sum;
  std::vector<std::int8_t> q8;
  std::vector<std::uint16_t> bf16;

  Prepared(std::vector<float> x, std::size_t row_count, std::size_t column_count)
      : rows(row_count), columns(column_count), f32(std::move(x)) {
    for (float value : f32) bf16.push_back(bf16_from_f32(value));
    if (columns % 32 != 0) return;
    q8.resize(f32.size());
    for (std::size_t block = 0; block < f32.size() / 32; ++block) {
      float largest = 0;
      for (std::size_t i = 0; i < 32; ++i) largest = std::max(largest, std::abs(f32[32 * block + i]));
      scale.push_back(largest / 127);
      int total = 0;
      for (std::size_t i = 0; i < 32; ++i) {
        const float scaled = largest > 0 ? f32[32 * block + i] / scale.back() : 0;
        const int rounded = std::isfinite(scaled) ? static_cast<int>(std::lrint(scaled)) : 0;
        q8[32 * block + i] = static_cast<std::int8_t>(rounded);
        total += rounded;
      }
      sum.push_back(scale.back() * static_cast<float>(total));
    }
  }
  Activations view(std::size_t first, std::size_t count) const {
    Activations a{
        .rows = count, .columns = columns, .f32 = f32.data() + first * columns, .bf16 = bf16.data() + first * columns};
    if (q8.empty()) return a;
    a.q8 = q8.data() + first * columns;
    a.q8_scale = scale.data() + first * (columns / 32);
    a.q8_sum = sum.data() + first * (columns / 32);
    return a;
  }
  // Element i as a kernel of this form sees it.
  double seen(ActivationForms forms, std::size_t i) const {
    if (forms.q8) return static_cast<double>(q8[i]) * scale[i / 32];
    return forms.bf16 ? f32_from_bf16(bf16[i]) : f32[i];
  }
};

Prepared random_activations(std::size_t rows, std::size_t columns, base::Random& random) {
  std::vector<float> x(rows * columns);
  for (float& value : x) value = static_cast<float>(random.unit() * 4 - 2);
  return {std::move(x), rows, columns};
}

std::vector<float> run(Linear& linear, const PackedLinear& weights, const Activations& in) {
  std::vector<float> out(in.rows * weights.out_features(), -77.0f);
  const LinearJob job{.weights = &weights, .out = f32_tensor(out.data(), in.rows, weights.out_features())};
  linear.run(in, {&job, 1});
  return out;
}

using Param = std::tuple<Isa, DType, Compute>;

class LinearTest : public testing::TestWithParam<Param> {
 protected:
  Isa isa() const { return std::get<0>(GetParam()); }
  DType type() const { return std::get<1>(GetParam()); }
  Compute compute() const { return std::get<2>(GetParam()); }
  // Columns that the type can have: some blocks, or for dense types odd counts too.
  std::vector<std::size_t> sizes() const {
    const std::size_t block = traits(type()).block_elements;
    if (block == 1) return {1, 2, 7, 32, 33, 131};
    return {block, 3 * block};
  }
  base::Random random_{42};
};

TEST_P(LinearTest, AgreesWithDoublePrecision) {
  base::ThreadPool pool(2);
  Linear linear(isa(), compute(), pool);
  for (std::size_t columns : sizes()) {
    for (std::size_t out_features : {1u, 16u, 37u, 130u}) {
      Stored stored = random_weights(type(), out_features, columns, random_);
      const Values values = values_of(stored);
      const auto weights = linear.pack(stored.tensor());
      const ActivationForms forms = linear.forms(weights->stored_type());
      const Prepared x = random_activations(5, columns, random_);
      const std::vector<float> got = run(linear, *weights, x.view(0, 5));
      for (std::size_t t = 0; t < 5; ++t) {
        for (std::size_t r = 0; r < out_features; ++r) {
          double expected = 0, magnitude = 0;
          for (std::size_t k = 0; k < columns; ++k) {
            const double value = x.seen(forms, t * columns + k);
            expected += values.weight[r * columns + k] * value;
            magnitude += values.magnitude[r * columns + k] * std::abs(value);
          }
          // At most one rounding for each k on the way, and four more in a weight and its block's scale.
          const double bound = (static_cast<double>(columns) + 4) * kRound * magnitude;
          ASSERT_NEAR(got[t * out_features + r], expected, bound + 1e-30)
              << columns << " columns, row " << t << ", output " << r << " of " << out_features;
        }
      }
    }
  }
}

TEST_P(LinearTest, ARowIsTheSameInAnyCompany) {
  const std::size_t columns = sizes().back();
  const std::size_t out_features = 83;
  Stored stored = random_weights(type(), out_features, columns, random_);
  const Prepared x = random_activations(33, columns, random_);
  std::vector<float> alone;
  {
    base::ThreadPool pool(1);
    Linear linear(isa(), compute(), pool);
    const auto weights = linear.pack(stored.tensor());
    for (std::size_t t = 0; t < 33; ++t) {
      const std::vector<float> row = run(linear, *weights, x.view(t, 1));
      alone.insert(alone.end(), row.begin(), row.end());
    }
  }
  for (int threads : {1, 2, 3}) {
    base::ThreadPool pool(threads);
    Linear linear(isa(), compute(), pool);
    const auto weights = linear.pack(stored.tensor());
    for (std::size_t rows = 1; rows <= 33; ++rows) {
      for (std::size_t first : {std::size_t{0}, 33 - rows}) {
        const std::vector<float> got = run(linear, *weights, x.view(first, rows));
        ASSERT_EQ(std::memcmp(got.data(), alone.data() + first * out_features, got.size() * sizeof(float)), 0)
            << rows << " rows from " << first << ", " << threads << " threads";
      }
    }
  }
}

TEST_P(LinearTest, AddsBiasThenAccumulates) {
  base::ThreadPool pool(2);
  Linear linear(isa(), compute(), pool);
  const std::size_t columns = sizes().front();
  const std::size_t out_features = 19;
  Stored stored = random_weights(type(), out_features, columns, random_);
  const auto weights = linear.pack(stored.tensor());
  const Prepared x = random_activations(3, columns, random_);
  const std::vector<float> plain = run(linear, *weights, x.view(0, 3));
  const std::vector<float> bias(out_features, 0.25f);
  std::vector<float> out(3 * out_features, 8.0f);
  const LinearJob job{.weights = weights.get(),
                      .out = f32_tensor(out.data(), 3, out_features),
                      .bias = bias.data(),
                      .accumulate = true};
  linear.run(x.view(0, 3), {&job, 1});
  for (std::size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], 8.0f + (plain[i] + 0.25f)) << i;
}

TEST_P(LinearTest, NotANumberStaysInItsRow) {
  base::ThreadPool pool(2);
  Linear linear(isa(), compute(), pool);
  const std::size_t columns = sizes().back();
  Stored stored = random_weights(type(), 20, columns, random_);
  const auto weights = linear.pack(stored.tensor());
  Prepared x = random_activations(6, columns, random_);
  const std::vector<float> before = run(linear, *weights, x.view(0, 6));
  const auto poison = [&](std::size_t row, float value) {
    x.f32[row * columns] = value;
    x.bf16[row * columns] = bf16_from_f32(value);
    if (x.q8.empty()) return;
    x.scale[row * (columns / 32)] = std::numeric_limits<float>::quiet_NaN();  // as prepare() marks such a block
    x.sum[row * (columns / 32)] = std::numeric_limits<float>::quiet_NaN();
  };
  poison(1, std::numeric_limits<float>::quiet_NaN());
  poison(4, std::numeric_limits<float>::infinity());
  const std::vector<float> after = run(linear, *weights, x.view(0, 6));
  for (std::size_t t = 0; t < 6; ++t) {
    for (std::size_t r = 0; r < 20; ++r) {
      if (t == 1 || t == 4) {
        EXPECT_FALSE(std::isfinite(after[t * 20 + r])) << t << ' ' << r;
      } else {
        EXPECT_EQ(after[t * 20 + r], before[t * 20 + r]) << t << ' ' << r;
      }
    }
  }
}

std::vector<DType> all_types() {
  std::vector<DType> types;
  for (int i = 0; i < kDTypeCount; ++i) types.push_back(static_cast<DType>(i));
  return types;
}

INSTANTIATE_TEST_SUITE_P(Every, LinearTest,
                         testing::Combine(testing::ValuesIn(available_isas()), testing::ValuesIn(all_types()),
                                          testing::Values(Compute::kFast, Compute::kExact)),
                         [](const testing::TestParamInfo<Param>& p) {
                           return std::string(isa_name(std::get<0>(p.param))) + "_" +
                                  std::string(traits(std::get<1>(p.param)).name) +
                                  (std::get<2>(p.param) == Compute::kFast ? "_fast" : "_exact");
                         });

TEST(LinearJobsTest, JobsOfDifferentTypesShareOneInput) {
  base::Random random(7);
  for (Isa isa : available_isas()) {
    for (std::size_t rows : {std::size_t{1}, std::size_t{2}, std::size_t{50}}) {
      base::ThreadPool pool(2);
      Linear linear(isa, Compute::kFast, pool);
      const Prepared x = random_activations(rows, 512, random);
      std::vector<std::unique_ptr<PackedLinear>> weights;
      std::vector<std::vector<float>> out, alone;
      std::vector<LinearJob> jobs;
      for (DType type : {DType::kQ4_K, DType::kQ6_K, DType::kQ8_0, DType::kF16, DType::kBF16}) {
        Stored stored = random_weights(type, 40, 512, random);
        weights.push_back(linear.pack(stored.tensor()));
        alone.push_back(run(linear, *weights.back(), x.view(0, rows)));
        out.emplace_back(rows * 40);
      }
      for (std::size_t j = 0; j < weights.size(); ++j) {
        jobs.push_back({.weights = weights[j].get(), .out = f32_tensor(out[j].data(), rows, 40)});
      }
      linear.run(x.view(0, rows), jobs);
      for (std::size_t j = 0; j < jobs.size(); ++j) EXPECT_EQ(out[j], alone[j]) << isa_name(isa) << " job " << j;
    }
  }
}

TEST(LinearJobsTest, ManyRowsAreCutIntoStrips) {
  base::Random random(8);
  base::ThreadPool pool(2);
  Linear linear(available_isas().back(), Compute::kFast, pool);
  Stored stored = random_weights(DType::kQ4_1, 16, 32, random);
  const auto weights = linear.pack(stored.tensor());
  const Prepared x = random_activations(1201, 32, random);
  const std::vector<float> got = run(linear, *weights, x.view(0, 1201));
  for (std::size_t t : {0u, 527u, 528u, 700u, 1199u, 1200u}) {
    const std::vector<float> alone = run(linear, *weights, x.view(t, 1));
    for (std::size_t r = 0; r < 16; ++r) ASSERT_EQ(got[t * 16 + r], alone[r]) << t;
  }
}

// Tiles that take a few panels in turn, panels that stay while tiles pass, a single tile: wherever a row is computed,
// it has the bits that it has alone.
TEST(LinearJobsTest, EveryWayThroughTilesAndPanelsGivesTheSameBits) {
  base::Random random(10);
  constexpr std::size_t kOut = 200, kColumns = 4096;
  for (Isa isa : available_isas()) {
    base::ThreadPool pool(2);
    Linear linear(isa, Compute::kFast, pool);
    for (DType type : {DType::kQ4_K, DType::kQ6_K, DType::kQ8_0, DType::kF16, DType::kBF16}) {
      Stored stored = random_weights(type, kOut, kColumns, random);
      const auto weights = linear.pack(stored.tensor());
      const Prepared x = random_activations(110, kColumns, random);
      std::vector<std::vector<float>> alone;
      for (std::size_t t = 0; t < x.rows; t += 9) alone.push_back(run(linear, *weights, x.view(t, 1)));
      for (std::size_t rows : {std::size_t{7}, std::size_t{12}, std::size_t{13}, std::size_t{29}, std::size_t{110}}) {
        const std::vector<float> got = run(linear, *weights, x.view(0, rows));
        for (std::size_t t = 0; t < rows; t += 9) {
          const std::vector<float> row(got.begin() + static_cast<std::ptrdiff_t>(t * kOut),
                                       got.begin() + static_cast<std::ptrdiff_t>((t + 1) * kOut));
          ASSERT_EQ(row, alone[t / 9]) << isa_name(isa) << ' ' << traits(type).name << ", row " << t << " of " << rows;
        }
      }
    }
  }
}

TEST(LinearJobsTest, RefusesAWrongShape) {
  base::Random random(9);
  base::ThreadPool pool(1);
  Linear linear(Isa::kScalar, Compute::kFast, pool);
  Stored stored = random_weights(DType::kQ8_0, 4, 64, random);
  const auto weights = linear.pack(stored.tensor());
  const Prepared narrow = random_activations(1, 32, random);
  const Prepared right = random_activations(1, 64, random);
  std::vector<float> out(8);
  const LinearJob job{.weights = weights.get(), .out = f32_tensor(out.data(), 1, 4)};
  EXPECT_DEATH(linear.run(narrow.view(0, 1), {&job, 1}), "64 features, not 32");
  const LinearJob wide{.weights = weights.get(), .out = f32_tensor(out.data(), 1, 8)};
  EXPECT_DEATH(linear.run(right.view(0, 1), {&wide, 1}), "out is");
  Activations unprepared = right.view(0, 1);
  unprepared.q8 = nullptr;
  EXPECT_DEATH(linear.run(unprepared, {&job, 1}), "not prepared as int8");
}

}  // namespace
}  // namespace autoglm::kernels

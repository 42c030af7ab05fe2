// SPDX-License-Identifier: Apache-2.0
// Blocks and groups against dequantize() and against bounds that follow from their steps.
#include "kernels/quantize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/half.h"

namespace autoglm::kernels {
namespace {

constexpr std::size_t kBlocks = 256;
constexpr std::size_t kCount = 32 * kBlocks;

enum class Kind { kEven, kSkewed, kPositive, kHeavy, kTiny };

// Values of one kind, the same for the same kind.
std::vector<float> values_of(Kind kind) {
  base::Random random(7 + static_cast<std::uint64_t>(kind));
  std::vector<float> values(kCount);
  for (float& value : values) {
    const auto uniform = static_cast<float>(random.unit());
    const auto other = static_cast<float>(random.unit());
    const float normal = std::sqrt(-2 * std::log(uniform + 1e-9f)) * std::cos(6.2831853f * other);
    if (kind == Kind::kEven) value = 0.05f * normal;
    if (kind == Kind::kSkewed) value = 0.1f * std::exp(normal) - 0.05f;
    if (kind == Kind::kPositive) value = 0.5f + 0.5f * uniform;
    if (kind == Kind::kHeavy) value = 0.02f * normal * normal * normal;
    if (kind == Kind::kTiny) value = 1e-6f * normal;
  }
  return values;
}

constexpr Kind kKinds[] = {Kind::kEven, Kind::kSkewed, Kind::kPositive, Kind::kHeavy, Kind::kTiny};

float largest_of(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::fabs(value));
  return largest;
}

std::vector<float> there_and_back(DType type, const std::vector<float>& values) {
  std::vector<std::byte> blocks(row_bytes(type, values.size()));
  quantize(type, values.data(), blocks.data(), values.size());
  std::vector<float> back(values.size());
  dequantize(type, blocks.data(), back.data(), back.size());
  return back;
}

double squared_error(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return sum;
}

// value = scale * (code - zero)
std::vector<float> decoded(const QuantizedGroup& group, const std::vector<std::uint8_t>& codes) {
  std::vector<float> values;
  for (const std::uint8_t code : codes) values.push_back(group.scale * static_cast<float>(code - group.zero));
  return values;
}

TEST(Quantize, SixteenBitsRoundToNearest) {
  const std::vector<float> values = values_of(Kind::kEven);
  const std::vector<float> half = there_and_back(DType::kF16, values);
  const std::vector<float> brain = there_and_back(DType::kBF16, values);
  for (std::size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(half[i], f32_from_f16(f16_from_f32(values[i])));
    EXPECT_EQ(brain[i], f32_from_bf16(bf16_from_f32(values[i])));
  }
  EXPECT_EQ(there_and_back(DType::kF32, values), values);
}

// The scale s is max / 127 rounded up to f16, so every value is within 127 s and off by at most s / 2; s is at most
// 2^-10 of itself or 2^-24 above max / 127. One part in 2^20 is for the f32 arithmetic of value / s.
TEST(Quantize, EightBitsAreWithinHalfAScale) {
  for (const Kind kind : kKinds) {
    const std::vector<float> values = values_of(kind);
    const std::vector<float> back = there_and_back(DType::kQ8_0, values);
    for (std::size_t begin = 0; begin < kCount; begin += 32) {
      const float exact = largest_of(std::span(values).subspan(begin, 32)) / 127;
      const float scale = std::max(exact * (1 + 0x1p-10f), exact + 0x1p-24f);
      for (std::size_t i = begin; i < begin + 32; ++i) {
        ASSERT_LE(std::fabs(values[i] - back[i]), scale / 2 * (1 + 0x1p-20f)) << "kind " << static_cast<int>(kind);
      }
    }
  }
}

// The plain scale, max / 7 rounded up, is off by at most half of itself everywhere: the one that is chosen has no more
// squared error than 32 such values. And the choice pays: clearly less error than the plain one has.
TEST(Quantize, FourBitsAreNoWorseThanThePlainScale) {
  for (const DType type : {DType::kQ4_0, DType::kQ4_1}) {
    for (const Kind kind : kKinds) {
      const std::vector<float> values = values_of(kind);
      const std::vector<float> back = there_and_back(type, values);
      double plain = 0;
      for (std::size_t begin = 0; begin < kCount; begin += 32) {
        const std::span block = std::span(values).subspan(begin, 32);
        const float exact = largest_of(block) / 7;
        const float scale = std::max(exact * (1 + 0x1p-10f), exact + 0x1p-24f);
        const double error = squared_error(block, std::span(back).subspan(begin, 32));
        ASSERT_LE(error, 32.0 * scale * scale / 4 * (1 + 1e-4)) << traits(type).name;
        for (const float value : block) {
          const float off = value - scale * std::nearbyint(value / scale);
          plain += double{off} * off;
        }
      }
      if (kind == Kind::kTiny) continue;  // the grid of f16 leaves little to choose
      EXPECT_LT(squared_error(values, back), 0.9 * plain) << traits(type).name << " kind " << static_cast<int>(kind);
    }
  }
}

TEST(Quantize, AMinimumHelpsWhereValuesAreSkewed) {
  for (const Kind kind : kKinds) {
    const std::vector<float> values = values_of(kind);
    const double symmetric = squared_error(values, there_and_back(DType::kQ4_0, values));
    const double with_minimum = squared_error(values, there_and_back(DType::kQ4_1, values));
    EXPECT_LE(with_minimum, symmetric);
    if (kind == Kind::kPositive) EXPECT_LT(with_minimum, symmetric / 4);  // a quarter of the range, a sixteenth at best
  }
}

TEST(Quantize, ZerosStayZeros) {
  const std::vector<float> zeros(64, 0.0f);
  for (const DType type : {DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1}) {
    EXPECT_EQ(there_and_back(type, zeros), zeros) << traits(type).name;
  }
  for (const bool is_symmetric : {true, false}) {
    for (const int bits : {4, 8}) {
      std::vector<std::uint8_t> codes(zeros.size());
      const QuantizedGroup group = quantize_group(zeros, {bits, is_symmetric}, codes.data());
      EXPECT_EQ(decoded(group, codes), zeros);
    }
  }
}

// The largest that is allowed, and one large value among small ones.
TEST(Quantize, LargeValuesStayFinite) {
  std::vector<float> values(32, -65504.0f);
  values[3] = 65504.0f;
  for (const DType type : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1}) {
    const std::vector<float> back = there_and_back(type, values);
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(back[i], values[i], 65504.0f / 7) << traits(type).name;
  }
}

TEST(Quantize, OtherTypesAreABug) {
  EXPECT_FALSE(can_quantize(DType::kQ4_K));
  std::vector<float> values(256);
  std::vector<std::byte> to(256);
  EXPECT_DEATH(quantize(DType::kQ4_K, values.data(), to.data(), values.size()), "Q4_K");
  EXPECT_DEATH(quantize(DType::kQ8_0, values.data(), to.data(), 31), "31 elements");
}

struct GroupCase {
  int bits;
  ScaleGrid grid;
  std::size_t size;
};

class QuantizeGroup : public testing::TestWithParam<GroupCase> {};

TEST_P(QuantizeGroup, CodesAndScalesAreWhatTheFormatsHold) {
  const auto [bits, grid, size] = GetParam();
  for (const Kind kind : kKinds) {
    const std::vector<float> values = values_of(kind);
    for (const bool is_symmetric : {true, false}) {
      for (std::size_t begin = 0; begin + size <= kCount; begin += size) {
        std::vector<std::uint8_t> codes(size);
        const QuantizedGroup group =
            quantize_group(std::span(values).subspan(begin, size), {bits, is_symmetric, grid}, codes.data());
        ASSERT_GE(group.scale, 0);
        ASSERT_EQ(f32_from_f16(f16_from_f32(group.scale)), group.scale);
        if (grid == ScaleGrid::kBF16) ASSERT_EQ(f32_from_bf16(bf16_from_f32(group.scale)), group.scale);
        ASSERT_LT(*std::ranges::max_element(codes), 1 << bits);
        ASSERT_GE(group.zero, 0);
        ASSERT_LT(group.zero, 1 << bits);
        if (is_symmetric) ASSERT_EQ(group.zero, 1 << (bits - 1));
      }
    }
  }
}

// What asymmetric is for; and it never costs, not even by a single group.
TEST_P(QuantizeGroup, AsymmetricIsAtLeastAsGoodAsSymmetric) {
  const auto [bits, grid, size] = GetParam();
  for (const Kind kind : kKinds) {
    const std::vector<float> values = values_of(kind);
    double sums[2] = {};
    for (std::size_t begin = 0; begin + size <= kCount; begin += size) {
      const std::span part = std::span(values).subspan(begin, size);
      double errors[2] = {};
      for (const bool is_symmetric : {false, true}) {
        std::vector<std::uint8_t> codes(size);
        const QuantizedGroup group = quantize_group(part, {bits, is_symmetric, grid}, codes.data());
        errors[is_symmetric] = squared_error(part, decoded(group, codes));
      }
      // Compared in f32 when chosen: a few roundings of sums of `size` squares apart.
      ASSERT_LE(errors[0], errors[1] * (1 + 1e-5));
      sums[0] += errors[0];
      sums[1] += errors[1];
    }
    if (size < 32) continue;
    // Values above zero need half of the range: half the step, a quarter of the error, less what the zero costs.
    if (kind == Kind::kPositive) EXPECT_LT(sums[0], 0.35 * sums[1]);
    if (kind == Kind::kSkewed) EXPECT_LT(sums[0], 0.6 * sums[1]);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, QuantizeGroup,
                         testing::Values(GroupCase{4, ScaleGrid::kF16, 32}, GroupCase{4, ScaleGrid::kBF16, 128},
                                         GroupCase{4, ScaleGrid::kF16, 77}, GroupCase{8, ScaleGrid::kF16, 32},
                                         GroupCase{8, ScaleGrid::kBF16, 1024}, GroupCase{8, ScaleGrid::kF16, 1}));

}  // namespace
}  // namespace autoglm::kernels

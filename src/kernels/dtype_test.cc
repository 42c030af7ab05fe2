// SPDX-License-Identifier: Apache-2.0
#include "kernels/dtype.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "kernels/half.h"

namespace autoglm::kernels {
namespace {

std::vector<char> bytes_of(const std::string& name) {
  std::ifstream file(std::string(TESTDATA_DIR) + "/golden/quant/" + name, std::ios::binary);
  EXPECT_TRUE(file) << name;
  return std::vector<char>(std::istreambuf_iterator<char>(file), {});
}

std::vector<DType> all_types() {
  std::vector<DType> types;
  for (int i = 0; i < kDTypeCount; ++i) types.push_back(static_cast<DType>(i));
  return types;
}

TEST(DTypeTest, GgmlIdsAreDistinctAndFoundAgain) {
  std::set<std::uint32_t> ids;
  for (DType type : all_types()) {
    EXPECT_TRUE(ids.insert(traits(type).ggml_id).second) << traits(type).name;
    EXPECT_EQ(dtype_from_ggml(traits(type).ggml_id), type);
  }
  for (std::uint32_t foreign : {4u, 9u, 15u, 16u, 24u, 28u, 31u, 39u, 0xffffffffu}) {
    EXPECT_EQ(dtype_from_ggml(foreign), std::nullopt) << foreign;
  }
}

TEST(DTypeTest, RowBytesCountsBlocks) {
  EXPECT_EQ(row_bytes(DType::kF32, 3), 12u);
  EXPECT_EQ(row_bytes(DType::kQ4_K, 512), 288u);
  EXPECT_EQ(row_bytes(DType::kQ8_0, 0), 0u);
  EXPECT_DEATH((void)row_bytes(DType::kQ4_K, 288), "288 columns of Q4_K");
}

// The goldens are the blocks dequantised by the format's own Python package.
TEST(DTypeTest, DequantizesTheGoldenBlocksBitExactly) {
  for (DType type : all_types()) {
    if (type == DType::kF32) continue;  // no raw blocks: the type is the result
    const std::string name(traits(type).name);
    const std::vector<char> stored = bytes_of(name + ".bin");
    const std::vector<char> golden = bytes_of(name + ".f32");
    std::vector<float> expected(golden.size() / sizeof(float));
    std::memcpy(expected.data(), golden.data(), golden.size());
    ASSERT_EQ(stored.size(), row_bytes(type, expected.size())) << name;
    std::vector<float> got(expected.size());
    dequantize(type, reinterpret_cast<const std::byte*>(stored.data()), got.data(), got.size());
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], expected[i]) << name << " element " << i;
  }
}

TEST(DTypeTest, DequantizeRefusesAPartOfABlock) {
  std::vector<std::byte> stored(34);
  std::vector<float> to(32);
  EXPECT_DEATH(dequantize(DType::kQ8_0, stored.data(), to.data(), 31), "31 elements of Q8_0");
}

TEST(HalfTest, EveryHalfRoundTrips) {
  for (std::uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = f32_from_f16(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(f32_from_f16(f16_from_f32(value)))) << bits;
    } else {
      EXPECT_EQ(f16_from_f32(value), half) << bits;
    }
  }
}

TEST(HalfTest, EveryHalfIsWidenedToItsValue) {
  for (std::uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const int exponent = static_cast<int>(bits >> 10 & 31);
    const int mantissa = static_cast<int>(bits & 0x3ff);
    const float value = f32_from_f16(static_cast<std::uint16_t>(bits));
    EXPECT_EQ(std::signbit(value), bits >> 15 != 0) << bits;
    if (exponent == 31) {
      EXPECT_TRUE(mantissa == 0 ? std::isinf(value) : std::isnan(value)) << bits;
    } else {
      EXPECT_EQ(std::fabs(value), std::ldexp(exponent == 0 ? mantissa : mantissa + 1024, std::max(exponent, 1) - 25))
          << bits;
    }
  }
}

TEST(HalfTest, RoundsToNearestEven) {
  EXPECT_EQ(f16_from_f32(1.0f + 0x1p-11f), 0x3c00);             // halfway: to even
  EXPECT_EQ(f16_from_f32(1.0f + 3 * 0x1p-11f), 0x3c02);         // halfway: up to even
  EXPECT_EQ(f16_from_f32(1.0f + 0x1p-11f + 0x1p-20f), 0x3c01);  // above halfway
  EXPECT_EQ(f16_from_f32(65519.0f), 0x7bff);                    // the largest finite half
  EXPECT_EQ(f16_from_f32(65520.0f), 0x7c00);                    // rounds to infinity
  EXPECT_EQ(f16_from_f32(0x1p-25f), 0x0000);                    // half of the least subnormal: to even
  EXPECT_EQ(f16_from_f32(0x1.8p-25f), 0x0001);
  EXPECT_EQ(f16_from_f32(-0x1p-24f), 0x8001);
  EXPECT_EQ(f16_from_f32(-std::numeric_limits<float>::infinity()), 0xfc00);
}

TEST(HalfTest, Bfloat16KeepsTheUpperHalf) {
  EXPECT_EQ(bf16_from_f32(1.0f), 0x3f80);
  EXPECT_EQ(bf16_from_f32(1.0f + 0x1p-8f), 0x3f80);  // halfway: to even
  EXPECT_EQ(bf16_from_f32(1.0f + 3 * 0x1p-8f), 0x3f82);
  EXPECT_EQ(bf16_from_f32(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_TRUE(std::isnan(f32_from_bf16(bf16_from_f32(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_EQ(f32_from_bf16(0xc020), -2.5f);
}

}  // namespace
}  // namespace autoglm::kernels

// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace autoglm::kernels {
namespace {

TEST(CpuTest, FeaturesImplyEachOther) {
  const CpuFeatures& features = cpu_features();
  EXPECT_FALSE(features.model_name.empty());
  if (features.avx512) EXPECT_TRUE(features.avx2);
  if (features.avx512_bf16) EXPECT_TRUE(features.avx512);
}

// The compiler's runtime reads cpuid too, by other code.
TEST(CpuTest, AgreesWithTheCompilersRuntime) {
  __builtin_cpu_init();
  EXPECT_EQ(cpu_features().avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                                     __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2"));
  EXPECT_EQ(cpu_features().avx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                                       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                                       __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi"));
  EXPECT_EQ(cpu_features().avx512_bf16, cpu_features().avx512 && __builtin_cpu_supports("avx512bf16"));
}

TEST(CpuTest, NamesRoundTrip) {
  const std::vector<Isa> isas = available_isas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(isas.front(), Isa::kScalar);
  EXPECT_TRUE(std::is_sorted(isas.begin(), isas.end()));
  for (Isa isa : isas) {
    const Result<Isa> found = isa_from_name(isa_name(isa));
    ASSERT_TRUE(found) << isa_name(isa);
    EXPECT_EQ(*found, isa);
  }
}

TEST(CpuTest, RefusesOtherNames) {
  for (std::string_view name : {"", "AVX2", "avx", "avx5120", "sse2"}) {
    const Result<Isa> found = isa_from_name(name);
    ASSERT_FALSE(found) << name;
    EXPECT_EQ(found.error().code, Code::kInvalidArgument) << name;
  }
}

}  // namespace
}  // namespace autoglm::kernels

// SPDX-License-Identifier: Apache-2.0
#include "kernels/roof.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/random.h"
#include "kernels/tensor.h"

namespace autoglm::kernels {
namespace {

const RoofTable& table_of(Isa isa) {
  if (isa == Isa::kAvx512) return avx512_roof();
  return isa == Isa::kAvx2 ? avx2_roof() : scalar_roof();
}

TEST(Roof, ReadTouchesEveryByteOnEveryInstructionSet) {
  base::Random random(7);
  for (const std::size_t bytes : {std::size_t{1024}, std::size_t{4096}, std::size_t{65536 + 1024}}) {
    const Buffer memory(bytes);
    std::uint64_t expected = 0;
    for (std::size_t at = 0; at < bytes; at += sizeof(std::uint64_t)) {
      const std::uint64_t word = random.bits();
      std::memcpy(memory.data() + at, &word, sizeof word);
      expected += word;
    }
    for (const Isa isa : available_isas()) {
      EXPECT_EQ(table_of(isa).read(memory.data(), bytes), expected) << isa_name(isa) << ", " << bytes << " bytes";
    }
  }
}

TEST(Roof, LoopsComputeEveryRoundOfEveryArithmetic) {
  // Every product is 3 * 5.
  for (const Isa isa : available_isas()) {
    for (const auto& [loop, arithmetic] : {std::pair{table_of(isa).int8, Arithmetic::kInt8},
                                           {table_of(isa).bf16, Arithmetic::kBF16},
                                           {table_of(isa).f32, Arithmetic::kF32}}) {
      if (!has_arithmetic(isa, arithmetic)) continue;
      const double gained = loop.run(5) - loop.run(2);
      EXPECT_EQ(gained, static_cast<double>(loop.macs_per_round) * 15 * 3)
          << isa_name(isa) << ", " << arithmetic_name(arithmetic);
    }
  }
}

TEST(Roof, AnArithmeticThatTheSetLacksHasNoRate) {
  const base::SystemClock clock;
  base::ThreadPool pool(1);
  EXPECT_FALSE(has_arithmetic(Isa::kScalar, Arithmetic::kBF16));
  EXPECT_EQ(measure_macs(Isa::kScalar, Arithmetic::kBF16, pool, clock), 0);
  const Roof roof = measure_roof(Isa::kScalar, kLeastReadBytes, pool, clock);
  EXPECT_EQ(roof.bf16_macs_per_second, roof.f32_macs_per_second);
  EXPECT_EQ(roof.macs_per_second(Arithmetic::kInt8), roof.int8_macs_per_second);
}

TEST(Roof, MeasuresOnOneThreadAndOnTwo) {
  const base::SystemClock clock;
  for (const int threads : {1, 2}) {
    base::ThreadPool pool(threads);
    const Roof roof = measure_roof(available_isas().back(), 3 * kLeastReadBytes + 4096, pool, clock);
    for (const Arithmetic arithmetic : kArithmetics) {
      EXPECT_GT(roof.macs_per_second(arithmetic), 0) << arithmetic_name(arithmetic);
    }
    EXPECT_GT(roof.read_bytes_per_second, 0);
  }
}

TEST(Roof, MemoryToReadIsWrittenToItsLastByte) {
  base::ThreadPool pool(2);
  for (const std::size_t bytes : {kLeastReadBytes, 5 * kLeastReadBytes + 1024, 40 * kLeastReadBytes + 4096}) {
    const Buffer memory = make_read_memory(bytes, pool);
    ASSERT_GE(memory.size(), bytes);
    EXPECT_EQ(std::count(memory.data(), memory.data() + bytes, std::byte{0}), 0) << bytes;
  }
}

}  // namespace
}  // namespace autoglm::kernels

// SPDX-License-Identifier: Apache-2.0
#include "kernels/roof.h"

#include <gtest/gtest.h>

#include <cstring>

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

TEST(Roof, MultiplyAddComputesEveryRound) {
  // u8 3 * s8 5, four products a lane: each of the lanes gains 60 a round.
  for (const Isa isa : available_isas()) {
    if (isa == Isa::kScalar) continue;
    const auto two = table_of(isa).multiply_add(2);
    const auto five = table_of(isa).multiply_add(5);
    const auto gained = static_cast<std::int64_t>(table_of(isa).macs_per_round) * 15 * 3;
    // AVX2 returns one of its eight lanes, AVX-512 the sum of all.
    EXPECT_EQ(five - two, isa == Isa::kAvx2 ? gained / 8 : gained) << isa_name(isa);
  }
}

TEST(Roof, MeasuresOnOneThreadAndOnTwo) {
  const base::SystemClock clock;
  for (const int threads : {1, 2}) {
    base::ThreadPool pool(threads);
    const Roof roof = measure_roof(available_isas().back(), std::size_t{3} << 20, pool, clock);
    EXPECT_GT(roof.int8_macs_per_second, 0);
    EXPECT_GT(roof.read_bytes_per_second, 0);
  }
}

}  // namespace
}  // namespace autoglm::kernels

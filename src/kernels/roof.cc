// SPDX-License-Identifier: Apache-2.0
// Rounds and clock around the loops of scalar/, avx2/ and avx512/roof.cc.
#include "kernels/roof.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "base/check.h"
#include "kernels/tensor.h"

namespace autoglm::kernels {
namespace {

constexpr int kRounds = 7;
constexpr std::size_t kPieceBytes = std::size_t{1} << 20;
constexpr std::size_t kReadAtLeastBytes = std::size_t{512} << 20;  // a round: about 10 ms at 50 GB/s
constexpr std::size_t kPiecesPerThread = 8;                        // evens out a thread that starts late
constexpr std::size_t kMultiplyAddRounds = 200'000;

const RoofTable& table_of(Isa isa) {
  switch (isa) {
    case Isa::kAvx512:
      return avx512_roof();
    case Isa::kAvx2:
      return avx2_roof();
    case Isa::kScalar:
      break;
  }
  return scalar_roof();
}

template <typename Work>
double best_seconds(const base::Clock& clock, const Work& work) {
  work();  // wakes the threads and the clock rate
  double best = 1e30;
  for (int round = 0; round < kRounds; ++round) {
    const base::Time start = clock.now();
    work();
    best = std::min(best, std::chrono::duration<double>(clock.now() - start).count());
  }
  return std::max(best, 1e-9);
}

}  // namespace

Roof measure_roof(Isa isa, std::size_t working_set_bytes, base::ThreadPool& pool, const base::Clock& clock) {
  CHECK(working_set_bytes >= kPieceBytes) << working_set_bytes;
  const RoofTable& table = table_of(isa);
  const std::size_t pieces = static_cast<std::size_t>(pool.threads()) * kPiecesPerThread;
  std::atomic<std::uint64_t> sum = 0;  // keeps the loops' results alive

  const double compute_seconds = best_seconds(clock, [&] {
    pool.run(pieces, [&](std::size_t, int) {
      sum.fetch_add(static_cast<std::uint64_t>(table.multiply_add(kMultiplyAddRounds)), std::memory_order_relaxed);
    });
  });

  const std::size_t blocks = working_set_bytes / kPieceBytes;
  const std::size_t passes = std::max<std::size_t>(1, kReadAtLeastBytes / (blocks * kPieceBytes));
  const Buffer memory(blocks * kPieceBytes);
  pool.run(blocks, [&](std::size_t block, int) {
    std::memset(memory.data() + block * kPieceBytes, static_cast<int>(block % 251) + 1, kPieceBytes);
  });
  const double read_seconds = best_seconds(clock, [&] {
    for (std::size_t pass = 0; pass < passes; ++pass) {
      pool.run(blocks, [&](std::size_t block, int) {
        sum.fetch_add(table.read(memory.data() + block * kPieceBytes, kPieceBytes), std::memory_order_relaxed);
      });
    }
  });

  CHECK(sum.load() != 1) << "the sum of the measured loops";
  const double macs = static_cast<double>(pieces * kMultiplyAddRounds * table.macs_per_round);
  return {.int8_macs_per_second = macs / compute_seconds,
          .read_bytes_per_second = static_cast<double>(passes * blocks * kPieceBytes) / read_seconds};
}

}  // namespace autoglm::kernels

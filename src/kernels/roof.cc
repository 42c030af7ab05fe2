// SPDX-License-Identifier: Apache-2.0
// Rounds and clock around the loops of scalar/, avx2/ and avx512/roof.cc.
#include "kernels/roof.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "base/check.h"

namespace autoglm::kernels {
namespace {

constexpr int kRounds = 7;
constexpr std::size_t kLeastPieceBytes = std::size_t{64} << 10;
constexpr std::size_t kMostPieceBytes = std::size_t{1} << 20;
constexpr std::size_t kPieces = 16;                                // of a small working set, so that threads share it
constexpr std::size_t kReadAtLeastBytes = std::size_t{512} << 20;  // a round: about 10 ms at 50 GB/s
constexpr std::size_t kPiecesPerThread = 8;                        // evens out a thread that starts late
constexpr std::size_t kMacRounds = 200'000;

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

const MacLoop& loop_of(Isa isa, Arithmetic arithmetic) {
  const RoofTable& table = table_of(isa);
  switch (arithmetic) {
    case Arithmetic::kInt8:
      return table.int8;
    case Arithmetic::kBF16:
      return table.bf16;
    case Arithmetic::kF32:
      break;
  }
  return table.f32;
}

std::size_t piece_bytes(std::size_t bytes) {
  return std::clamp(bytes / kPieces / 1024 * 1024, kLeastPieceBytes, kMostPieceBytes);
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

std::string_view arithmetic_name(Arithmetic arithmetic) {
  switch (arithmetic) {
    case Arithmetic::kInt8:
      return "int8";
    case Arithmetic::kBF16:
      return "bf16";
    case Arithmetic::kF32:
      break;
  }
  return "f32";
}

bool has_arithmetic(Isa isa, Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::kBF16) return isa == Isa::kAvx512 && cpu_features().avx512_bf16;
  return true;
}

double Roof::macs_per_second(Arithmetic arithmetic) const {
  switch (arithmetic) {
    case Arithmetic::kInt8:
      return int8_macs_per_second;
    case Arithmetic::kBF16:
      return bf16_macs_per_second;
    case Arithmetic::kF32:
      break;
  }
  return f32_macs_per_second;
}

double measure_macs(Isa isa, Arithmetic arithmetic, base::ThreadPool& pool, const base::Clock& clock) {
  if (!has_arithmetic(isa, arithmetic)) return 0;
  const MacLoop& loop = loop_of(isa, arithmetic);
  const std::size_t pieces = static_cast<std::size_t>(pool.threads()) * kPiecesPerThread;
  std::atomic<int> odd = 0;  // keeps the loops' results alive
  const double seconds = best_seconds(clock, [&] {
    pool.run(pieces, [&](std::size_t, int) {
      if (loop.run(kMacRounds) < 0) odd.fetch_add(1, std::memory_order_relaxed);
    });
  });
  CHECK(odd.load() == 0) << "products of positive numbers";
  return static_cast<double>(pieces * kMacRounds * loop.macs_per_round) / seconds;
}

Buffer make_read_memory(std::size_t bytes, base::ThreadPool& pool) {
  Buffer memory(bytes);
  const std::size_t size = piece_bytes(bytes);
  pool.run((bytes + size - 1) / size, [&](std::size_t piece, int) {
    const std::size_t at = piece * size;
    std::memset(memory.data() + at, static_cast<int>(piece % 251) + 1, std::min(size, bytes - at));
  });
  return memory;
}

double measure_read(Isa isa, const Buffer& memory, base::ThreadPool& pool, const base::Clock& clock) {
  CHECK(memory.size() >= kLeastReadBytes) << memory.size();
  const RoofTable& table = table_of(isa);
  const std::size_t size = piece_bytes(memory.size());
  const std::size_t pieces = memory.size() / size;
  const std::size_t passes = std::max<std::size_t>(1, kReadAtLeastBytes / (pieces * size));
  std::atomic<std::uint64_t> sum = 0;
  const double seconds = best_seconds(clock, [&] {
    pool.run(passes * pieces, [&](std::size_t index, int) {
      sum.fetch_add(table.read(memory.data() + index % pieces * size, size), std::memory_order_relaxed);
    });
  });
  CHECK(sum.load() != 1) << "the sum of what was read";
  return static_cast<double>(passes * pieces * size) / seconds;
}

Roof measure_roof(Isa isa, std::size_t working_set_bytes, base::ThreadPool& pool, const base::Clock& clock) {
  Roof roof;
  roof.int8_macs_per_second = measure_macs(isa, Arithmetic::kInt8, pool, clock);
  roof.f32_macs_per_second = measure_macs(isa, Arithmetic::kF32, pool, clock);
  roof.bf16_macs_per_second = has_arithmetic(isa, Arithmetic::kBF16) ? measure_macs(isa, Arithmetic::kBF16, pool, clock)
                                                                     : roof.f32_macs_per_second;
  roof.read_bytes_per_second = measure_read(isa, make_read_memory(working_set_bytes, pool), pool, clock);
  return roof;
}

}  // namespace autoglm::kernels

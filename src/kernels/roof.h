// SPDX-License-Identifier: Apache-2.0
// The roofs of this machine, which kernels and whole runs are judged by: int8 multiply-adds and bytes read a second.
// Measured on the spot, because processors and neighbours differ. Engine thread; takes about a second.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/clock.h"
#include "base/thread_pool.h"
#include "kernels/cpu.h"

namespace autoglm::kernels {

struct Roof {
  double int8_macs_per_second = 0;
  double read_bytes_per_second = 0;
};

/// The best of a few short rounds on `pool`: multiply-adds out of registers, and reading `working_set_bytes` (at least
/// 1 MiB) front to back in several streams. Best and not median: a roof is what the machine can do undisturbed.
Roof measure_roof(Isa isa, std::size_t working_set_bytes, base::ThreadPool& pool, const base::Clock& clock);

// What one instruction set brings to the measurement. The functions do no useful work and cannot be optimised away.
struct RoofTable {
  std::size_t macs_per_round = 0;
  std::int64_t (*multiply_add)(std::size_t rounds) = nullptr;
  /// Reads `bytes` (a multiple of 1024) from `from` (64-byte aligned) and returns a sum of it.
  std::uint64_t (*read)(const std::byte* from, std::size_t bytes) = nullptr;
};

const RoofTable& scalar_roof();
const RoofTable& avx2_roof();
const RoofTable& avx512_roof();

}  // namespace autoglm::kernels

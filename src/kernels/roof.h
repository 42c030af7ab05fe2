// SPDX-License-Identifier: Apache-2.0
// The roofs of this machine, which kernels and whole runs are judged by: multiply-adds and bytes read a second.
// Measured on the spot, because processors and neighbours differ. Engine thread; each figure takes about a tenth of a
// second, a gigabyte of memory a whole one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/clock.h"
#include "base/thread_pool.h"
#include "kernels/cpu.h"
#include "kernels/tensor.h"

namespace autoglm::kernels {

// The arithmetics that linear layers run on: u8 x s8 products summed in s32, bf16 and f32 products summed in f32.
enum class Arithmetic : std::uint8_t { kInt8, kBF16, kF32 };
inline constexpr Arithmetic kArithmetics[] = {Arithmetic::kInt8, Arithmetic::kBF16, Arithmetic::kF32};

std::string_view arithmetic_name(Arithmetic arithmetic);  // "int8", "bf16", "f32"
/// Whether `isa` has instructions for it on this processor, which must have the instruction set.
bool has_arithmetic(Isa isa, Arithmetic arithmetic);

// What one model's run is judged by.
struct Roof {
  double int8_macs_per_second = 0;
  double bf16_macs_per_second = 0;  // that of f32 where the instruction set has none
  double f32_macs_per_second = 0;
  double read_bytes_per_second = 0;

  double macs_per_second(Arithmetic arithmetic) const;
};

/// All of a Roof on `pool`, reading `working_set_bytes` (as measure_read()).
Roof measure_roof(Isa isa, std::size_t working_set_bytes, base::ThreadPool& pool, const base::Clock& clock);

/// Multiply-adds a second out of registers, on all threads of `pool`: the best of a few short rounds, because a roof is
/// what the machine can do undisturbed. 0 without has_arithmetic().
double measure_macs(Isa isa, Arithmetic arithmetic, base::ThreadPool& pool, const base::Clock& clock);

/// Bytes a second of reading the whole of `memory` again and again, in pieces that go to whichever thread comes next,
/// as weights do; the best of a few rounds.
///   memory   at least kLeastReadBytes and touched: pages that nobody wrote are all the same one
double measure_read(Isa isa, const Buffer& memory, base::ThreadPool& pool, const base::Clock& clock);
inline constexpr std::size_t kLeastReadBytes = std::size_t{1} << 20;

/// Memory to read, written by the threads that will.
Buffer make_read_memory(std::size_t bytes, base::ThreadPool& pool);

// A loop of multiply-adds on registers. It does no useful work and cannot be optimised away.
struct MacLoop {
  std::size_t macs_per_round = 0;
  double (*run)(std::size_t rounds) = nullptr;  // the sum of all products; null = the instruction set has none
};

// What one instruction set brings to the measurement.
struct RoofTable {
  MacLoop int8, bf16, f32;
  /// Reads `bytes` (a multiple of 1024) from `from` (64-byte aligned) and returns a sum of it.
  std::uint64_t (*read)(const std::byte* from, std::size_t bytes) = nullptr;
};

const RoofTable& scalar_roof();
const RoofTable& avx2_roof();
const RoofTable& avx512_roof();

}  // namespace autoglm::kernels

// SPDX-License-Identifier: Apache-2.0
// What the tests and benchmarks of the row operations share: an instruction set with its pool and arena, random rows,
// and comparison by bits. Test code only.
#pragma once

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/thread_pool.h"
#include "kernels/row_kernels.h"
#include "kernels/row_table.h"

namespace autoglm::kernels {

struct RowFixture {
  explicit RowFixture(Isa isa, int threads = 1, Compute compute = Compute::kFast)
      : pool(threads), arena(std::size_t{64} << 20), rows(isa, compute, pool, arena) {}

  base::ThreadPool pool;
  Arena arena;
  RowKernels rows;
};

inline const RowTable& row_table(Isa isa) {
  if (isa == Isa::kAvx512) return avx512_row_table();
  return isa == Isa::kAvx2 ? avx2_row_table() : scalar_row_table();
}

// Uniform in (-magnitude, magnitude).
inline std::vector<float> random_floats(base::Random& random, std::size_t count, double magnitude) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>((2 * random.unit() - 1) * magnitude);
  return values;
}

inline bool same_bits(const float* a, const float* b, std::size_t count) {
  return std::memcmp(a, b, count * sizeof(float)) == 0;
}

inline Tensor view(std::vector<float>& values, std::size_t rows) {
  return f32_tensor(values.data(), rows, values.size() / rows);
}

inline std::string isa_test_name(const Isa& isa) { return std::string(isa_name(isa)); }

// Distance from `value` to the real number `expected`, in units of the last place of the nearest float.
inline double ulps(float value, double expected) {
  const float nearest = static_cast<float>(expected);
  const double unit = static_cast<double>(std::nextafter(std::fabs(nearest), INFINITY)) - std::fabs(nearest);
  return std::fabs(static_cast<double>(value) - expected) / unit;
}

}  // namespace autoglm::kernels

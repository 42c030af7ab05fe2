// SPDX-License-Identifier: Apache-2.0
#include "kernels/row_functions.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "kernels/scalar/vector.h"

namespace autoglm::kernels {
namespace {

constexpr std::uint32_t kLargestFinite = std::bit_cast<std::uint32_t>(std::numeric_limits<float>::max());

// The bits of the largest magnitude; above kLargestFinite with an infinity or a NaN among the 32 numbers.
std::uint32_t largest_magnitude(const float* x) {
  std::uint32_t largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max(largest, std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu);
  return largest;
}

// Writes the nearest codes and returns their sum.
std::int32_t round_to_codes(const float* x, float inverse, std::int8_t* q8) {
  std::int32_t code[32];
#pragma clang loop unroll(disable)
  for (int i = 0; i < 32; ++i) code[i] = static_cast<std::int32_t>(std::nearbyint(x[i] * inverse));
  std::int32_t total = 0;
  for (const std::int32_t c : code) total += c;
  for (int i = 0; i < 32; ++i) q8[i] = static_cast<std::int8_t>(code[i]);
  return total;
}

void quantize(const float* x, std::size_t columns, std::int8_t* q8, float* scale, float* sum) {
  for (std::size_t block = 0; block < columns / 32; ++block, x += 32, q8 += 32) {
    const std::uint32_t bits = largest_magnitude(x);
    const auto largest = std::bit_cast<float>(bits);
    if (bits > kLargestFinite || largest < 0x1.0p-100f) {  // no integer holds a NaN
      std::memset(q8, 0, 32);
      scale[block] = sum[block] = bits > kLargestFinite ? std::numeric_limits<float>::quiet_NaN() : 0.0f;
      continue;
    }
    scale[block] = largest / 127.0f;
    sum[block] = scale[block] * static_cast<float>(round_to_codes(x, 127.0f / largest, q8));
  }
}

}  // namespace

const RowTable& scalar_row_table() {
  static constexpr RowTable kTable = row_functions<Scalar4>(quantize);
  return kTable;
}

}  // namespace autoglm::kernels

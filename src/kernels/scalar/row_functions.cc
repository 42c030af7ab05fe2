// SPDX-License-Identifier: Apache-2.0
#include "kernels/row_functions.h"

#include <limits>

#include "kernels/scalar/vector.h"

namespace autoglm::kernels {
namespace {

void quantize(const float* x, std::size_t columns, std::int8_t* q8, float* scale, float* sum) {
  for (std::size_t block = 0; block < columns / 32; ++block, x += 32, q8 += 32) {
    float largest = 0;
    bool finite = true;
    for (int i = 0; i < 32; ++i) {
      const float magnitude = std::fabs(x[i]);
      finite = finite && magnitude <= std::numeric_limits<float>::max();
      largest = magnitude > largest ? magnitude : largest;
    }
    const float inverse = finite && largest >= 0x1.0p-100f ? 127.0f / largest : 0.0f;
    std::int32_t total = 0;
    for (int i = 0; i < 32; ++i) {
      // With inverse 0 an x that is not finite would give NaN, which no integer can hold.
      const auto code = inverse == 0.0f ? 0 : static_cast<std::int32_t>(std::nearbyint(x[i] * inverse));
      q8[i] = static_cast<std::int8_t>(code);
      total += code;
    }
    scale[block] = inverse == 0.0f ? 0.0f : largest / 127.0f;
    if (!finite) scale[block] = std::numeric_limits<float>::quiet_NaN();
    sum[block] = scale[block] * static_cast<float>(total);
  }
}

}  // namespace

const RowTable& scalar_row_table() {
  static constexpr RowTable kTable = row_functions<Scalar4>(quantize);
  return kTable;
}

}  // namespace autoglm::kernels

// SPDX-License-Identifier: Apache-2.0
// The table of linear layers in AVX-512.
#include "kernels/avx512/linear_types.h"

namespace autoglm::kernels {
namespace {

consteval LinearKernels table(TileForm bf16_form, const LinearTypeKernels* bf16) {
  using namespace avx512;
  return {.width_count = 7,
          .widths = {1, 2, 3, 4, 6, 8, 12},
          .many_width = 8,
          .q8_width_count = 8,
          .q8_widths = {1, 2, 3, 4, 5, 6, 8, 12},
          .q8_many_width = 6,
          .bf16_form = bf16_form,
          .types = {&kF32, &kF16, bf16, &kQ8_0, &kQ4_0, &kQ4_1, &kQ5_0, &kQ5_1, &kQ2_K, &kQ3_K, &kQ4_K, &kQ5_K, &kQ6_K,
                    &kIQ4_NL, &kIQ4_XS}};
}

constexpr LinearKernels kWithDot = table(TileForm::kBf16, &avx512::kBF16Dot);
constexpr LinearKernels kWithoutDot = table(TileForm::kF32, &avx512::kBF16);

}  // namespace

const LinearKernels& avx512_linear_kernels(bool bf16) { return bf16 ? kWithDot : kWithoutDot; }

}  // namespace autoglm::kernels

// SPDX-License-Identifier: Apache-2.0
// The table of linear layers in AVX2.
#include "kernels/avx2/linear_types.h"

namespace autoglm::kernels {
namespace {

using namespace avx2;

constexpr LinearKernels kTable = {
    .width_count = 3,
    .widths = {1, 2, 4},
    .bf16_form = TileForm::kF32,
    .types = {&kF32, &kF16, &kBF16, &kQ8_0, &kQ4_0, &kQ4_1, &kQ5_0, &kQ5_1, &kQ2_K, &kQ3_K, &kQ4_K, &kQ5_K, &kQ6_K,
              &kIQ4_NL, &kIQ4_XS},
};

}  // namespace

const LinearKernels& avx2_linear_kernels() { return kTable; }

}  // namespace autoglm::kernels

// SPDX-License-Identifier: Apache-2.0
// The kernels of each weight type in AVX2, spread over several units because each takes the compiler a while.
#pragma once

#include "kernels/linear_kernels.h"

namespace autoglm::kernels::avx2 {

extern const LinearTypeKernels kF32, kF16, kBF16;
extern const LinearTypeKernels kQ8_0, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kIQ4_NL;
extern const LinearTypeKernels kQ2_K, kQ3_K, kQ4_K, kQ5_K, kQ6_K, kIQ4_XS;

}  // namespace autoglm::kernels::avx2

// SPDX-License-Identifier: Apache-2.0
// Linear layers in AVX-512: the 4-bit types of 32-element blocks.
#include "kernels/avx512/linear_tiles.h"
#include "kernels/avx512/linear_types.h"

namespace autoglm::kernels::avx512 {

constinit const LinearTypeKernels kQ4_0 = quantized_kernels<DType::kQ4_0>();
constinit const LinearTypeKernels kQ4_1 = quantized_kernels<DType::kQ4_1>();
constinit const LinearTypeKernels kIQ4_NL = quantized_kernels<DType::kIQ4_NL>();

}  // namespace autoglm::kernels::avx512

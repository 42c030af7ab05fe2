// SPDX-License-Identifier: Apache-2.0
// Linear layers in AVX-512: the 5- and 8-bit types of 32-element blocks.
#include "kernels/avx512/linear_tiles.h"
#include "kernels/avx512/linear_types.h"

namespace autoglm::kernels::avx512 {

constinit const LinearTypeKernels kQ5_0 = quantized_kernels<DType::kQ5_0>();
constinit const LinearTypeKernels kQ5_1 = quantized_kernels<DType::kQ5_1>();
constinit const LinearTypeKernels kQ8_0 = quantized_kernels<DType::kQ8_0>();

}  // namespace autoglm::kernels::avx512

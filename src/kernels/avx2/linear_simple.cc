// SPDX-License-Identifier: Apache-2.0
// Linear layers in AVX2: the types of 32-element blocks, and unquantised weights.
#include "kernels/avx2/linear_tiles.h"
#include "kernels/avx2/linear_types.h"

namespace autoglm::kernels::avx2 {

constinit const LinearTypeKernels kF32 = dense_kernels<DType::kF32>();
constinit const LinearTypeKernels kF16 = dense_kernels<DType::kF16>();
constinit const LinearTypeKernels kBF16 = dense_kernels<DType::kBF16>();
constinit const LinearTypeKernels kQ4_0 = quantized_kernels<DType::kQ4_0>();
constinit const LinearTypeKernels kQ4_1 = quantized_kernels<DType::kQ4_1>();
constinit const LinearTypeKernels kIQ4_NL = quantized_kernels<DType::kIQ4_NL>();
constinit const LinearTypeKernels kQ5_0 = quantized_kernels<DType::kQ5_0>();
constinit const LinearTypeKernels kQ5_1 = quantized_kernels<DType::kQ5_1>();
constinit const LinearTypeKernels kQ8_0 = quantized_kernels<DType::kQ8_0>();

}  // namespace autoglm::kernels::avx2

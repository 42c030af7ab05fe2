// SPDX-License-Identifier: Apache-2.0
// Linear layers in AVX2: the 256-element types.
#include "kernels/avx2/linear_tiles.h"
#include "kernels/avx2/linear_types.h"

namespace autoglm::kernels::avx2 {

constinit const LinearTypeKernels kQ2_K = quantized_kernels<DType::kQ2_K>();
constinit const LinearTypeKernels kQ3_K = quantized_kernels<DType::kQ3_K>();
constinit const LinearTypeKernels kQ4_K = quantized_kernels<DType::kQ4_K>();
constinit const LinearTypeKernels kQ5_K = quantized_kernels<DType::kQ5_K>();
constinit const LinearTypeKernels kQ6_K = quantized_kernels<DType::kQ6_K>();
constinit const LinearTypeKernels kIQ4_XS = quantized_kernels<DType::kIQ4_XS>();

}  // namespace autoglm::kernels::avx2

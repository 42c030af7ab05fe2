// SPDX-License-Identifier: Apache-2.0
// Linear layers in AVX-512: the other 256-element types.
#include "kernels/avx512/linear_tiles.h"
#include "kernels/avx512/linear_types.h"

namespace autoglm::kernels::avx512 {

constinit const LinearTypeKernels kQ5_K = quantized_kernels<DType::kQ5_K>();
constinit const LinearTypeKernels kQ6_K = quantized_kernels<DType::kQ6_K>();
constinit const LinearTypeKernels kIQ4_XS = quantized_kernels<DType::kIQ4_XS>();

}  // namespace autoglm::kernels::avx512

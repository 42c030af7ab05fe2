// SPDX-License-Identifier: Apache-2.0
// Linear layers in AVX-512: the 256-element types up to 4 bits.
#include "kernels/avx512/linear_tiles.h"
#include "kernels/avx512/linear_types.h"

namespace autoglm::kernels::avx512 {

constinit const LinearTypeKernels kQ2_K = quantized_kernels<DType::kQ2_K>();
constinit const LinearTypeKernels kQ3_K = quantized_kernels<DType::kQ3_K>();
constinit const LinearTypeKernels kQ4_K = quantized_kernels<DType::kQ4_K>();

}  // namespace autoglm::kernels::avx512

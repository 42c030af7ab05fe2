// SPDX-License-Identifier: Apache-2.0
// Linear layers in AVX-512: unquantised weights.
#include "kernels/avx512/linear_tiles.h"
#include "kernels/avx512/linear_types.h"

namespace autoglm::kernels::avx512 {

constinit const LinearTypeKernels kF32 = dense_kernels<DType::kF32>();
constinit const LinearTypeKernels kF16 = dense_kernels<DType::kF16>();
constinit const LinearTypeKernels kBF16 = dense_kernels<DType::kBF16>();
constinit const LinearTypeKernels kBF16Dot = {
    .fast = {bf16_dot<1>, bf16_dot<2>, bf16_dot<3>, bf16_dot<4>, bf16_dot<6>, bf16_dot<8>, bf16_dot<12>},
    .exact = {dense<DType::kBF16, 1>, dense<DType::kBF16, 2>, dense<DType::kBF16, 3>, dense<DType::kBF16, 4>,
              dense<DType::kBF16, 6>, dense<DType::kBF16, 8>, dense<DType::kBF16, 12>}};

}  // namespace autoglm::kernels::avx512

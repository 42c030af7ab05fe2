// SPDX-License-Identifier: Apache-2.0
// What this processor can do (cpuid, XGETBV), read once. Chooses the instruction set at run time.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace autoglm::kernels {

enum class Isa : unsigned char {
  kScalar,  // portable C++: the reference
  kAvx2,    // AVX2 + FMA + F16C
  kAvx512,  // AVX-512 F/BW/DQ/VL + VNNI (BF16 where present)
};

struct CpuFeatures {
  bool avx2 = false;         // with FMA, F16C, BMI2 and OS support
  bool avx512 = false;       // F, BW, DQ, VL, VNNI, VBMI and OS support
  bool avx512_bf16 = false;  // vdpbf16ps
  std::string model_name;    // brand string
};

const CpuFeatures& cpu_features();
std::string_view isa_name(Isa isa);  // "scalar", "avx2", "avx512"
Result<Isa> isa_from_name(
    std::string_view name);         // kInvalidArgument when unknown, kUnavailable when this machine lacks it
std::vector<Isa> available_isas();  // in rising order; the last is the default

}  // namespace autoglm::kernels

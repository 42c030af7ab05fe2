// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "app/build_facts.h"
#include "app/command_line.h"
#include "kernels/cpu.h"

namespace autoglm::app {

std::string version_text() {
  std::string sets, used;
  for (const auto isa : {kernels::Isa::kScalar, kernels::Isa::kAvx2, kernels::Isa::kAvx512}) {
    sets += fmt::format("{}{}", sets.empty() ? "" : ", ", kernels::isa_name(isa));
  }
  for (const auto isa : kernels::available_isas()) used = kernels::isa_name(isa);
  const auto& cpu = kernels::cpu_features();
  return fmt::format(
      "openautoglm {} ({})\n"
      "build      {}{}, clang {}\n"
      "compiled   {}\n"
      "used here  {}{}\n"
      "processor  {}",
      kVersion, kCommit, kBuildType, kSanitizers[0] == '\0' ? "" : fmt::format(" with {} sanitizer", kSanitizers),
      __clang_version__, sets, used, used == "avx512" && cpu.avx512_bf16 ? " with BF16" : "", cpu.model_name);
}

}  // namespace autoglm::app

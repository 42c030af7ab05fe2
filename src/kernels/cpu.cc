// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu.h"

#include <cpuid.h>

#include <cstdint>
#include <cstring>

namespace autoglm::kernels {
namespace {

struct Registers {
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// Zeros when the processor does not know the leaf.
Registers cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) return {};
  return r;
}

bool bit(std::uint32_t word, int index) { return ((word >> index) & 1u) != 0; }

// XCR0: which register files the operating system saves. Only valid when CPUID.1:ECX.OSXSAVE is set.
std::uint64_t saved_registers() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

std::string brand() {
  if (cpuid(0x80000000u).eax < 0x80000004u) return "unknown";
  char text[49] = {};
  for (std::uint32_t part = 0; part < 3; ++part) {
    const Registers r = cpuid(0x80000002u + part);
    std::memcpy(text + 16 * part, &r, 16);
  }
  std::string name(text);
  const std::size_t first = name.find_first_not_of(' ');
  const std::size_t last = name.find_last_not_of(' ');
  return first == std::string::npos ? "unknown" : name.substr(first, last - first + 1);
}

// Bits: Intel SDM volume 2A, CPUID; volume 1, 13.1 (XCR0).
CpuFeatures read_features() {
  CpuFeatures features;
  features.model_name = brand();
  const Registers one = cpuid(1);
  if (!bit(one.ecx, 27)) return features;  // OSXSAVE
  const std::uint64_t saved = saved_registers();
  const bool saves_ymm = (saved & 0x6) == 0x6;
  const bool saves_zmm = (saved & 0xe6) == 0xe6;
  const Registers seven = cpuid(7);
  const bool fma = bit(one.ecx, 12);
  const bool f16c = bit(one.ecx, 29);
  features.avx2 = saves_ymm && fma && f16c && bit(seven.ebx, 5) && bit(seven.ebx, 8);
  const bool foundation = bit(seven.ebx, 16) && bit(seven.ebx, 17) && bit(seven.ebx, 30) && bit(seven.ebx, 31);
  const bool vbmi = bit(seven.ecx, 1);
  const bool vnni = bit(seven.ecx, 11);
  features.avx512 = features.avx2 && saves_zmm && foundation && vbmi && vnni;
  features.avx512_bf16 = features.avx512 && bit(cpuid(7, 1).eax, 5);
  return features;
}

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = read_features();
  return features;
}

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kScalar:
      return "scalar";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "unknown";
}

Result<Isa> isa_from_name(std::string_view name) {
  for (Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512}) {
    if (isa_name(isa) != name) continue;
    for (Isa have : available_isas()) {
      if (have == isa) return isa;
    }
    return fail(Code::kUnavailable,
                "this processor has no " + std::string(name) + " (it is: " + cpu_features().model_name + ")");
  }
  return fail(Code::kInvalidArgument,
              "unknown instruction set '" + std::string(name.substr(0, 40)) + "': expected scalar, avx2 or avx512");
}

std::vector<Isa> available_isas() {
  std::vector<Isa> isas = {Isa::kScalar};
  if (cpu_features().avx2) isas.push_back(Isa::kAvx2);
  if (cpu_features().avx512) isas.push_back(Isa::kAvx512);
  return isas;
}

}  // namespace autoglm::kernels

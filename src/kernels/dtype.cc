// SPDX-License-Identifier: Apache-2.0
#include "kernels/dtype.h"

#include <cstring>

#include "base/check.h"
#include "kernels/half.h"
#include "kernels/quant_blocks.h"

namespace autoglm::kernels {
namespace {

// Names, ids and sizes: the GGUF specification's table of tensor types. Order of the enum.
constexpr DTypeTraits kTraits[kDTypeCount] = {
    {"F32", 0, 1, 4},       {"F16", 1, 1, 2},       {"BF16", 30, 1, 2},       {"Q8_0", 8, 32, 34},
    {"Q4_0", 2, 32, 18},    {"Q4_1", 3, 32, 20},    {"Q5_0", 6, 32, 22},      {"Q5_1", 7, 32, 24},
    {"Q2_K", 10, 256, 84},  {"Q3_K", 11, 256, 110}, {"Q4_K", 12, 256, 144},   {"Q5_K", 13, 256, 176},
    {"Q6_K", 14, 256, 210}, {"IQ4_NL", 20, 32, 18}, {"IQ4_XS", 23, 256, 136},
};

template <DType kType>
void dequantize_blocks(const std::byte* from, float* to, std::size_t count) {
  constexpr BlockShape kShape = block_shape(kType);
  constexpr std::uint32_t kBytes = kTraits[static_cast<int>(kType)].block_bytes;
  DecodedBlock block;
  for (std::size_t done = 0; done < count; done += kShape.elements, from += kBytes) {
    decode_block(kType, from, block);
    const float d = f32_from_f16(block.d);
    const float dmin = f32_from_f16(block.dmin);
    for (int first = 0; first < kShape.elements; first += kShape.group) {
      const int group = first / kShape.group;
      const float scale = d * static_cast<float>(block.scale[group]);
      const float min = kShape.has_min ? dmin * static_cast<float>(block.min[group]) : 0.0f;
      for (int e = first; e < first + kShape.group; ++e) {
        const float value = scale * static_cast<float>(block.code[e] - kShape.zero);
        to[done + static_cast<std::size_t>(e)] = kShape.has_min ? value - min : value;
      }
    }
  }
}

}  // namespace

const DTypeTraits& traits(DType type) { return kTraits[static_cast<int>(type)]; }

std::optional<DType> dtype_from_ggml(std::uint32_t ggml_id) {
  for (int i = 0; i < kDTypeCount; ++i) {
    if (kTraits[i].ggml_id == ggml_id) return static_cast<DType>(i);
  }
  return std::nullopt;
}

std::size_t row_bytes(DType type, std::size_t columns) {
  const DTypeTraits& t = traits(type);
  CHECK(columns % t.block_elements == 0) << columns << " columns of " << t.name;
  return columns / t.block_elements * t.block_bytes;
}

void dequantize(DType type, const std::byte* from, float* to, std::size_t count) {
  CHECK(count % traits(type).block_elements == 0) << count << " elements of " << traits(type).name;
  std::uint16_t bits;
  switch (type) {
    case DType::kF32:
      std::memcpy(to, from, count * sizeof(float));
      return;
    case DType::kF16:
      for (std::size_t i = 0; i < count; ++i) {
        std::memcpy(&bits, from + 2 * i, sizeof(bits));
        to[i] = f32_from_f16(bits);
      }
      return;
    case DType::kBF16:
      for (std::size_t i = 0; i < count; ++i) {
        std::memcpy(&bits, from + 2 * i, sizeof(bits));
        to[i] = f32_from_bf16(bits);
      }
      return;
    case DType::kQ8_0:
      return dequantize_blocks<DType::kQ8_0>(from, to, count);
    case DType::kQ4_0:
      return dequantize_blocks<DType::kQ4_0>(from, to, count);
    case DType::kQ4_1:
      return dequantize_blocks<DType::kQ4_1>(from, to, count);
    case DType::kQ5_0:
      return dequantize_blocks<DType::kQ5_0>(from, to, count);
    case DType::kQ5_1:
      return dequantize_blocks<DType::kQ5_1>(from, to, count);
    case DType::kQ2_K:
      return dequantize_blocks<DType::kQ2_K>(from, to, count);
    case DType::kQ3_K:
      return dequantize_blocks<DType::kQ3_K>(from, to, count);
    case DType::kQ4_K:
      return dequantize_blocks<DType::kQ4_K>(from, to, count);
    case DType::kQ5_K:
      return dequantize_blocks<DType::kQ5_K>(from, to, count);
    case DType::kQ6_K:
      return dequantize_blocks<DType::kQ6_K>(from, to, count);
    case DType::kIQ4_NL:
      return dequantize_blocks<DType::kIQ4_NL>(from, to, count);
    case DType::kIQ4_XS:
      return dequantize_blocks<DType::kIQ4_XS>(from, to, count);
  }
}

}  // namespace autoglm::kernels

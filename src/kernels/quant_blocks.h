// SPDX-License-Identifier: Apache-2.0
// The stored blocks of the quantised types, decoded into one common shape: unsigned codes, f16 factors and small
// integer scales. dequantize() and the packing of linear layers both start here. Layouts: docs/formats/gguf.md. Any
// thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/dtype.h"

namespace autoglm::kernels {

// One block of 32 or 256 elements. With s = scale[e / group], m = min[e / group]:
//   value(e) = (d * s) * (code[e] - zero) - (dmin * m)
// For the 32-element types s = 1; Q4_1 and Q5_1 keep their (signed) minimum in dmin with m = -1. For the IQ4 types the
// codes are already the table's values + 128. zero and group are properties of the type: see block_shape().
struct DecodedBlock {
  std::uint8_t code[256];
  std::uint16_t d = 0;     // f16 bits
  std::uint16_t dmin = 0;  // f16 bits; 0 for types without a minimum
  std::int8_t scale[16];   // -128..127
  std::int8_t min[16];     // 0..63, or -1
};

struct BlockShape {
  int elements = 32;        // of a block: 32 or 256
  int group = 32;           // elements that share one scale: 16 or 32
  int bits = 4;             // of a code as it is kept in a packed panel
  int zero = 0;             // what is taken off a code
  bool has_min = false;     // adds -dmin * m
  bool has_scales = false;  // integer scales below d (the 256-element types)
  bool has_table = false;   // codes are looked up: IQ4_NL, IQ4_XS
};

/// The shape of a quantised type's block; constant expressions only, so that no code of it lands anywhere.
consteval BlockShape block_shape(DType type) {
  switch (type) {
    case DType::kQ8_0:
      return {.bits = 8, .zero = 128};
    case DType::kQ4_0:
      return {.bits = 4, .zero = 8};
    case DType::kQ4_1:
      return {.bits = 4, .has_min = true};
    case DType::kQ5_0:
      return {.bits = 5, .zero = 16};
    case DType::kQ5_1:
      return {.bits = 5, .has_min = true};
    case DType::kQ2_K:
      return {.elements = 256, .group = 16, .bits = 2, .has_min = true, .has_scales = true};
    case DType::kQ3_K:
      return {.elements = 256, .group = 16, .bits = 3, .zero = 4, .has_scales = true};
    case DType::kQ4_K:
      return {.elements = 256, .bits = 4, .has_min = true, .has_scales = true};
    case DType::kQ5_K:
      return {.elements = 256, .bits = 5, .has_min = true, .has_scales = true};
    case DType::kQ6_K:
      return {.elements = 256, .group = 16, .bits = 6, .zero = 32, .has_scales = true};
    case DType::kIQ4_NL:
      return {.bits = 4, .zero = 128, .has_table = true};
    case DType::kIQ4_XS:
      return {.elements = 256, .bits = 4, .zero = 128, .has_scales = true, .has_table = true};
    default:
      return {.elements = 0, .group = 0, .bits = 0};
  }
}

/// The non-linear table of IQ4_NL and IQ4_XS, + 128.
inline constexpr std::uint8_t kIq4Table[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};

constexpr bool is_quantized(DType type) { return type != DType::kF32 && type != DType::kF16 && type != DType::kBF16; }

/// Decodes the block at `from`. With `raw_table`, codes of the IQ4 types stay 4-bit indices into kIq4Table.
void decode_block(DType type, const std::byte* from, DecodedBlock& block, bool raw_table = false);

}  // namespace autoglm::kernels

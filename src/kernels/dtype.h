// SPDX-License-Identifier: Apache-2.0
// The element types that weights come in: their names, sizes and ids in GGUF. Block layouts: docs/formats/gguf.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace autoglm::kernels {

enum class DType : std::uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_NL,
  kIQ4_XS,
};
inline constexpr int kDTypeCount = 15;

struct DTypeTraits {
  std::string_view name;  // "Q4_K"
  std::uint32_t ggml_id;  // type id in a GGUF tensor info
  std::uint32_t block_elements;
  std::uint32_t block_bytes;
};

const DTypeTraits& traits(DType type);
/// The type with this GGUF id, or nothing when we do not run it.
std::optional<DType> dtype_from_ggml(std::uint32_t ggml_id);
/// Bytes of a row of `columns` elements; columns must be a multiple of the block.
std::size_t row_bytes(DType type, std::size_t columns);
/// Scalar reference: dequantises `count` elements (a multiple of the block) to f32. Every kernel is judged by it.
void dequantize(DType type, const std::byte* from, float* to, std::size_t count);

}  // namespace autoglm::kernels

// SPDX-License-Identifier: Apache-2.0
#include "model/formats/quantized_matrix.h"

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "kernels/half.h"
#include "kernels/quantize.h"

namespace autoglm::model {
namespace {

using kernels::DType;

std::byte* put_half(float value, std::byte* to) {
  const std::uint16_t bits = kernels::f16_from_f32(value);
  std::memcpy(to, &bits, sizeof(bits));
  return to + sizeof(bits);
}

float half(float value) { return kernels::f32_from_f16(kernels::f16_from_f32(value)); }

// 32 columns from `column` on, which share a scale.
std::byte* put_block(DType type, const CodedRow& row, std::size_t column, std::byte* to) {
  const float scale = row.scales[column / row.group];
  to = put_half(scale, to);
  if (type == DType::kQ4_1) to = put_half(-static_cast<float>(row.zeros[column / row.group]) * half(scale), to);
  const std::uint8_t* const codes = row.codes.data() + column;
  if (type == DType::kQ8_0) {
    for (std::size_t i = 0; i < kBlockColumns; ++i) *to++ = static_cast<std::byte>(codes[i] ^ 0x80);
  } else {
    for (std::size_t i = 0; i < kBlockColumns / 2; ++i) *to++ = static_cast<std::byte>(codes[i] | (codes[i + 16] << 4));
  }
  return to;
}

}  // namespace

Status replace_parts(std::vector<StoredTensor>& tensors, std::vector<std::string_view> parts,
                     const std::vector<StoredTensor>& made) {
  std::ranges::sort(parts);
  std::erase_if(tensors, [&](const StoredTensor& tensor) { return std::ranges::binary_search(parts, tensor.name); });
  tensors.insert(tensors.end(), made.begin(), made.end());
  std::ranges::sort(tensors, {}, &StoredTensor::name);
  const auto twin = std::ranges::adjacent_find(tensors, {}, &StoredTensor::name);
  if (twin == tensors.end()) return {};
  return fail(Code::kCorrupt,
              "the tensor \"" + base::printable(twin->name) + "\" is there both quantised and as it is");
}

std::byte* put_row(DType type, const CodedRow& row, std::byte* to) {
  if (type != DType::kF16) {
    for (std::size_t column = 0; column < row.codes.size(); column += kBlockColumns) {
      to = put_block(type, row, column, to);
    }
    return to;
  }
  for (std::size_t column = 0; column < row.codes.size(); ++column) {
    const std::size_t group = row.group_of.empty() ? column / row.group : row.group_of[column];
    to = put_half(row.scales[group] * static_cast<float>(row.codes[column] - row.zeros[group]), to);
  }
  return to;
}

float stored_scale(DType type, std::span<const std::byte> scales, std::size_t index) {
  float scale = 0;
  kernels::dequantize(type, scales.data() + index * kernels::traits(type).block_bytes, &scale, 1);
  return scale;
}

DType block_type_of(std::size_t columns, std::size_t group, int bits, bool is_plain, bool is_in_order) {
  const bool has_whole_blocks = is_in_order && columns % kBlockColumns == 0 && group % kBlockColumns == 0;
  if (!has_whole_blocks || (bits == 8 && !is_plain)) return DType::kF16;
  if (bits == 8) return DType::kQ8_0;
  return is_plain ? DType::kQ4_0 : DType::kQ4_1;
}

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
#include "model/group_rows.h"

#include "kernels/half.h"

namespace autoglm::model {

using kernels::ScaleGrid;

std::vector<OutputTensor> GroupRows::parts(const std::string& name) const {
  const bool packed = scheme_.is_packed;
  std::vector<OutputTensor> parts;
  parts.push_back({.name = packed ? name + "_packed" : name,
                   .shape = {rows_, packed ? row_bytes() / 4 : columns_},
                   .dtype = packed ? "I32" : "I8",
                   .bytes = rows_ * row_bytes()});
  parts.push_back({.name = name + "_scale",
                   .shape = {rows_, groups()},
                   .dtype = grid_ == ScaleGrid::kBF16 ? "BF16" : "F16",
                   .bytes = 2 * rows_ * groups()});
  if (!scheme_.is_symmetric) {
    parts.push_back({.name = name + "_zero_point",
                     .shape = {packed ? zero_words() : rows_, groups()},
                     .dtype = packed ? "I32" : "I8",
                     .bytes = packed ? 4 * zero_words() * groups() : rows_ * groups()});
  }
  if (packed) parts.push_back({.name = name + "_shape", .shape = {2}, .dtype = "I64", .bytes = 16});
  return parts;
}

void GroupRows::begin() {
  scales_.resize(rows_ * groups());
  zeros_.resize(scheme_.is_symmetric ? 0 : rows_ * groups());
}

void GroupRows::convert(std::size_t row, std::span<const float> from, std::byte* to, float* back) {
  const std::size_t size = columns_ / groups();
  const kernels::GroupScheme scheme{scheme_.bits, scheme_.is_symmetric, grid_};
  std::vector<std::uint8_t> codes(size);
  for (std::size_t group = 0; group < groups(); ++group, from = from.subspan(size), back += size) {
    const auto [scale, zero] = kernels::quantize_group(from.first(size), scheme, codes.data());
    scales_[row * groups() + group] =
        grid_ == ScaleGrid::kBF16 ? kernels::bf16_from_f32(scale) : kernels::f16_from_f32(scale);
    if (!zeros_.empty()) zeros_[row * groups() + group] = static_cast<std::uint8_t>(zero);
    for (std::size_t i = 0; i < size; ++i) back[i] = scale * static_cast<float>(codes[i] - zero);
    to = put_codes(codes, to);
  }
}

// In the order of parts().
std::vector<std::byte> GroupRows::take_part(std::size_t index) {
  if (index == 1) {
    const auto bytes = std::as_bytes(std::span(scales_));
    std::vector<std::byte> part(bytes.begin(), bytes.end());
    scales_ = {};
    return part;
  }
  if (index == 2 && !scheme_.is_symmetric) return take_zeros();
  const std::int64_t shape[2] = {static_cast<std::int64_t>(rows_), static_cast<std::int64_t>(columns_)};
  const auto bytes = std::as_bytes(std::span(shape));
  return {bytes.begin(), bytes.end()};
}

std::byte* GroupRows::put_codes(std::span<const std::uint8_t> codes, std::byte* to) const {
  if (scheme_.is_packed) {
    for (std::size_t i = 0; i < codes.size(); i += 2) *to++ = static_cast<std::byte>(codes[i] | (codes[i + 1] << 4));
  } else {
    for (const std::uint8_t code : codes) *to++ = static_cast<std::byte>(code ^ 0x80);
  }
  return to;
}

// Packed ones lie along the rows: nibble r % 8 of word r / 8.
std::vector<std::byte> GroupRows::take_zeros() {
  std::vector<std::byte> part(scheme_.is_packed ? 4 * zero_words() * groups() : zeros_.size());
  for (std::size_t i = 0; i < zeros_.size(); ++i) {
    if (scheme_.is_packed) {
      const std::size_t row = i / groups();
      const std::size_t word = row / 8 * groups() + i % groups();
      part[4 * word + row % 8 / 2] |= static_cast<std::byte>(zeros_[i] << (4 * (row % 2)));
    } else {
      part[i] = static_cast<std::byte>(zeros_[i] ^ 0x80);
    }
  }
  zeros_ = {};
  return part;
}

}  // namespace autoglm::model

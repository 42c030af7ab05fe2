// SPDX-License-Identifier: Apache-2.0
// One matrix on its way into the compressed-tensors convention: codes row by row, scales and zero points at the end.
// convert() on several threads, for different rows; everything else on one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/quantize.h"
#include "model/conversion.h"
#include "model/formats/compressed_tensors.h"

namespace autoglm::model {

class GroupRows final : public RowConverter {
 public:
  /// `columns` are whole groups, and groups (or rows) whole blocks of 32.
  GroupRows(const CompressedScheme& scheme, kernels::ScaleGrid grid, std::size_t rows, std::size_t columns)
      : scheme_(scheme), grid_(grid), rows_(rows), columns_(columns) {}

  /// The tensors that hold it; `name` ends in ".weight".
  std::vector<OutputTensor> parts(const std::string& name) const;

  std::string type_text() const override { return "int" + std::to_string(scheme_.bits); }
  std::size_t row_bytes() const override { return columns_ * static_cast<std::size_t>(scheme_.bits) / 8; }
  float limit() const override { return CompressedMatrix::kMaxScale * 7; }  // so that no scale passes what is read
  void begin() override;
  void convert(std::size_t row, std::span<const float> from, std::byte* to, float* back) override;
  std::vector<std::byte> take_part(std::size_t index) override;

 private:
  std::size_t groups() const { return scheme_.group == 0 ? 1 : columns_ / scheme_.group; }
  std::size_t zero_words() const { return (rows_ + 7) / 8; }  // only int4 is packed: eight to a word
  std::byte* put_codes(std::span<const std::uint8_t> codes, std::byte* to) const;
  std::vector<std::byte> take_zeros();

  CompressedScheme scheme_;
  kernels::ScaleGrid grid_;
  std::size_t rows_, columns_;
  std::vector<std::uint16_t> scales_;
  std::vector<std::uint8_t> zeros_;
};

}  // namespace autoglm::model

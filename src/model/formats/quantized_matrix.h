// SPDX-License-Identifier: Apache-2.0
// A quantised matrix of a safetensors folder, whichever convention holds it, and how its rows become blocks that the
// kernels run. Immutable once gathered; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/dtype.h"
#include "model/formats/stored_tensor.h"

namespace autoglm::model {

// Columns of the blocks that quantised rows become.
inline constexpr std::size_t kBlockColumns = 32;

class QuantizedMatrix {
 public:
  static constexpr float kMaxScale = 256;  // keeps 255 scales inside f16

  virtual ~QuantizedMatrix() = default;

  std::size_t rows = 0;
  std::size_t columns = 0;

  /// What it takes in the file, all parts together.
  virtual std::uint64_t bytes() const = 0;
  /// The type that its rows become: Q8_0 (8 bits, zero in the middle), Q4_0, Q4_1 (4 bits), F16 where columns with one
  /// scale are not whole blocks of 32 side by side, or codes of 8 bits have a zero point.
  virtual kernels::DType block_type() const = 0;
  /// Rows [first, first + count) as blocks of block_type(). Codes are kept as they are. Scales become f16: exact for
  /// an f16, and for a bf16 of at least 2^-17; else within 2^-11 of themselves. The minimum of a Q4_1, -zero * scale,
  /// and the values of an F16 are rounded to f16 once.
  virtual void expand(std::size_t first, std::size_t count, std::byte* to) const = 0;
};

// One row with what its groups of columns share: value = scale * (code - zero).
struct CodedRow {
  std::span<const std::uint8_t> codes;  // unsigned
  int bits = 8;                         // 4 or 8
  std::size_t group = 0;                // columns that share a scale
  std::span<const float> scales;        // of each group
  std::span<const int> zeros;           // of each group
  // The group of each column, where they do not lie side by side; empty = column / group.
  std::span<const std::uint32_t> group_of = {};
};

/// Takes the tensors of these names out of `tensors`, puts `made` in and keeps the order by name. Errors: kCorrupt (a
/// name is there twice then).
Status replace_parts(std::vector<StoredTensor>& tensors, std::vector<std::string_view> parts,
                     const std::vector<StoredTensor>& made);

/// Writes it in a type that block_type() may give; returns what follows.
std::byte* put_row(kernels::DType type, const CodedRow& row, std::byte* to);

/// Number `index` of stored scales, which are F32, F16 or BF16.
float stored_scale(kernels::DType type, std::span<const std::byte> scales, std::size_t index);

/// That type. `is_plain`: every zero is in the middle of the codes.
kernels::DType block_type_of(std::size_t columns, std::size_t group, int bits, bool is_plain, bool is_in_order);

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
#include "model/formats/compressed_tensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "kernels/quantize.h"

namespace autoglm::model {
namespace {

using kernels::DType;
using Scales = CompressedScheme::Scales;

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kPacked = ".weight_packed";

std::size_t words(std::size_t count, int bits) { return (count * static_cast<std::size_t>(bits) + 31) / 32; }

// Code `index` of packed words or signed bytes, unsigned.
int code_at(const CompressedScheme& scheme, const std::byte* from, std::size_t index) {
  if (scheme.bits == 4) return static_cast<int>(from[index / 2] >> (4 * (index % 2))) & 15;
  return static_cast<int>(from[index]) ^ (scheme.is_packed ? 0 : 0x80);
}

// The words of a tensor, wherever it lies.
std::vector<std::uint32_t> groups_of(std::span<const std::byte> bytes) {
  std::vector<std::uint32_t> groups(bytes.size() / sizeof(std::uint32_t));
  if (!groups.empty()) std::memcpy(groups.data(), bytes.data(), groups.size() * sizeof(std::uint32_t));  // no null
  return groups;
}

// The tensors of one matrix while they are looked at.
class Gatherer final {
 public:
  Gatherer(const CompressedScheme& scheme, std::span<const StoredTensor> tensors)
      : scheme_(scheme), tensors_(tensors) {}

  /// `codes` is its NAME.weight_packed or int8 NAME.weight.
  Result<CompressedMatrix> gather(const StoredTensor& codes) {
    CompressedMatrix matrix;
    matrix.scheme = scheme_;
    matrix.codes = codes.bytes;
    about_ = "the quantised matrix \"" + base::printable(name_of(codes)) + "\"";
    if (codes.rank != 2) return broken("its codes are " + codes.shape_text() + ", not a matrix");
    matrix.rows = codes.shape[0];
    matrix.columns = codes.shape[1];
    if (scheme_.is_packed) TRY(read_shape(codes, matrix));
    if (matrix.rows == 0 || matrix.columns == 0) return broken("it has no elements");
    if (scheme_.scales == Scales::kGroup && matrix.columns % scheme_.group != 0) {
      return broken("its " + std::to_string(matrix.columns) + " columns are not whole groups of " +
                    std::to_string(scheme_.group));
    }
    TRY(read_scales(codes, matrix));
    if (!scheme_.is_symmetric) TRY(read_zeros(codes, matrix));
    if (scheme_.has_order) TRY(read_order(codes, matrix));
    return matrix;
  }

  static std::string_view name_of(const StoredTensor& codes) {
    const std::string_view suffix = codes.name.ends_with(kPacked) ? kPacked : kWeight;
    return codes.name.substr(0, codes.name.size() - suffix.size() + kWeight.size());
  }

  const StoredTensor* part(const StoredTensor& codes, std::string_view suffix) const {
    const std::string name = std::string(name_of(codes)) + std::string(suffix);
    const auto found = std::ranges::lower_bound(tensors_, name, {}, &StoredTensor::name);
    return found != tensors_.end() && found->name == name ? &*found : nullptr;
  }

 private:
  std::unexpected<Error> broken(const std::string& message) const {
    return fail(Code::kCorrupt, about_ + ": " + message);
  }

  Result<const StoredTensor*> need(const StoredTensor& codes, std::string_view suffix) const {
    const StoredTensor* const found = part(codes, suffix);
    if (found == nullptr) return broken("it has no" + std::string(suffix));
    return found;
  }

  Status read_shape(const StoredTensor& codes, CompressedMatrix& matrix) const {
    const StoredTensor& shape = *TRY(need(codes, "_shape"));
    if (codes.stored_type_name != "I32") return broken("its codes are " + codes.type_text() + ", not I32");
    std::int64_t sizes[2] = {};
    if (shape.stored_type_name != "I64" || shape.bytes.size() != sizeof(sizes)) {
      return broken("its shape is " + shape.type_text() + shape.shape_text() + ", not two I64");
    }
    std::memcpy(sizes, shape.bytes.data(), sizeof(sizes));
    // Words hold at most 32 / bits codes: compared before anything is multiplied.
    const std::uint64_t most = codes.shape[1] * static_cast<std::uint64_t>(32 / scheme_.bits);
    if (sizes[0] < 0 || static_cast<std::uint64_t>(sizes[0]) != codes.shape[0] || sizes[1] < 0 ||
        static_cast<std::uint64_t>(sizes[1]) > most ||
        words(static_cast<std::size_t>(sizes[1]), scheme_.bits) != codes.shape[1]) {
      return broken("words of " + codes.shape_text() + " do not hold a shape of " + std::to_string(sizes[0]) + ", " +
                    std::to_string(sizes[1]));
    }
    matrix.columns = static_cast<std::size_t>(sizes[1]);
    return {};
  }

  Status read_scales(const StoredTensor& codes, CompressedMatrix& matrix) const {
    const StoredTensor& scales = *TRY(need(codes, "_scale"));
    if (!scales.type) {
      return broken("its scales are " + scales.type_text() + ", not F32, F16 or BF16");
    }
    const bool is_one = scheme_.scales == Scales::kTensor && scales.elements() == 1;
    const bool is_list = scheme_.scales == Scales::kRow && scales.rank == 1 && scales.shape[0] == matrix.rows;
    const bool is_table = scheme_.scales != Scales::kTensor && scales.rank == 2 && scales.shape[0] == matrix.rows &&
                          scales.shape[1] == matrix.groups();
    if (!is_one && !is_list && !is_table) {
      return broken("its scales are " + scales.shape_text() + "; expected [" + std::to_string(matrix.rows) + ", " +
                    std::to_string(matrix.groups()) + "]");
    }
    matrix.scale_type = *scales.type;
    matrix.scales = scales.bytes;
    for (std::size_t i = 0; i < scales.elements(); ++i) {
      const float scale = stored_scale(matrix.scale_type, matrix.scales, i);
      if (!(std::fabs(scale) <= CompressedMatrix::kMaxScale)) {
        return broken("scale " + std::to_string(i) + " is " + std::to_string(scale) + "; at most 256 is allowed");
      }
    }
    return {};
  }

  Status read_zeros(const StoredTensor& codes, CompressedMatrix& matrix) const {
    const StoredTensor& zeros = *TRY(need(codes, "_zero_point"));
    const std::string_view type = scheme_.is_packed ? "I32" : "I8";
    if (zeros.stored_type_name != type) {
      return broken("its zero points are " + zeros.type_text() + ", not " + std::string(type));
    }
    const std::size_t rows = scheme_.is_packed ? words(matrix.rows, scheme_.bits) : matrix.rows;
    const bool is_one = scheme_.scales == Scales::kTensor && !scheme_.is_packed && zeros.elements() == 1;
    const bool is_table = scheme_.scales != Scales::kTensor && zeros.rank == 2 && zeros.shape[0] == rows &&
                          zeros.shape[1] == matrix.groups();
    if (!is_one && !is_table) {
      return broken("its zero points are " + zeros.shape_text() + "; expected [" + std::to_string(rows) + ", " +
                    std::to_string(matrix.groups()) + "]");
    }
    matrix.zeros = zeros.bytes;
    return {};
  }

  Status read_order(const StoredTensor& codes, CompressedMatrix& matrix) const {
    const StoredTensor& order = *TRY(need(codes, "_g_idx"));
    if (order.stored_type_name != "I32" || order.rank != 1 || order.shape[0] != matrix.columns) {
      return broken("its columns' groups are " + order.type_text() + order.shape_text() + "; expected I32[" +
                    std::to_string(matrix.columns) + "]");
    }
    for (const std::uint32_t group : groups_of(order.bytes)) {
      if (group >= matrix.groups()) {
        return broken("a column is of group " + std::to_string(group) + " of " + std::to_string(matrix.groups()));
      }
    }
    matrix.group_of = order.bytes;
    return {};
  }

  const CompressedScheme& scheme_;
  std::span<const StoredTensor> tensors_;
  std::string about_;
};

}  // namespace

std::size_t CompressedMatrix::code_row_bytes() const {
  return scheme.is_packed ? 4 * words(columns, scheme.bits) : columns;
}

DType CompressedMatrix::block_type() const {
  const std::size_t group = scheme.group == 0 ? columns : scheme.group;
  return block_type_of(columns, group, scheme.bits, scheme.is_symmetric, !scheme.has_order);
}

float CompressedMatrix::scale_at(std::size_t row, std::size_t group) const {
  return stored_scale(scale_type, scales, scheme.scales == Scales::kTensor ? 0 : row * groups() + group);
}

// Packed zero points lie along the rows: one word holds those of eight (or four) rows.
int CompressedMatrix::zero_at(std::size_t row, std::size_t group) const {
  if (scheme.is_symmetric) return 1 << (scheme.bits - 1);
  if (!scheme.is_packed) {
    return code_at(scheme, zeros.data(), scheme.scales == Scales::kTensor ? 0 : row * groups() + group);
  }
  const std::size_t in_word = 32 / static_cast<std::size_t>(scheme.bits);
  const std::byte* const word = zeros.data() + (row / in_word * groups() + group) * 4;
  return code_at(scheme, word, row % in_word);
}

void CompressedMatrix::expand(std::size_t first, std::size_t count, std::byte* to) const {
  CHECK(first + count <= rows) << first << " + " << count << " of " << rows;
  const DType type = block_type();
  std::vector<std::uint8_t> row_codes(columns);
  std::vector<float> row_scales(groups());
  std::vector<int> row_zeros(groups());
  const std::vector<std::uint32_t> order = groups_of(group_of);
  for (std::size_t row = first; row < first + count; ++row) {
    const std::byte* const from = codes.data() + row * code_row_bytes();
    for (std::size_t i = 0; i < columns; ++i) row_codes[i] = static_cast<std::uint8_t>(code_at(scheme, from, i));
    for (std::size_t group = 0; group < groups(); ++group) {
      row_scales[group] = scale_at(row, group);
      row_zeros[group] = zero_at(row, group);
    }
    to = put_row(type,
                 {.codes = row_codes,
                  .bits = scheme.bits,
                  .group = scheme.group == 0 ? columns : scheme.group,
                  .scales = row_scales,
                  .zeros = row_zeros,
                  .group_of = order},
                 to);
  }
}

Result<std::vector<std::unique_ptr<const QuantizedMatrix>>> gather_compressed(const CompressedScheme& scheme,
                                                                              std::vector<StoredTensor>& tensors) {
  Gatherer gatherer(scheme, tensors);
  std::vector<std::unique_ptr<const QuantizedMatrix>> matrices;
  std::vector<StoredTensor> made;
  std::vector<std::string_view> taken;
  for (const StoredTensor& codes : tensors) {
    const bool is_bytes = codes.name.ends_with(kWeight) && codes.stored_type_name == "I8";
    if (scheme.is_packed ? !codes.name.ends_with(kPacked) : !is_bytes) continue;
    auto gathered = std::make_unique<const CompressedMatrix>(TRY(gatherer.gather(codes)));
    const CompressedMatrix& matrix = *gathered;
    matrices.push_back(std::move(gathered));
    made.push_back({.name = Gatherer::name_of(codes),
                    .shape = {matrix.rows, matrix.columns},
                    .rank = 2,
                    .type = matrix.block_type(),
                    .bytes = matrix.codes,
                    .compressed = &matrix});
    taken.push_back(codes.name);
    for (const std::string_view suffix : {"_scale", "_zero_point", "_shape", "_g_idx"}) {
      if (suffix == "_g_idx" && !scheme.has_order) continue;
      if (suffix == "_zero_point" && scheme.is_symmetric) continue;
      if (suffix == "_shape" && !scheme.is_packed) continue;
      taken.push_back(gatherer.part(codes, suffix)->name);
    }
  }
  TRY(replace_parts(tensors, std::move(taken), made));
  return matrices;
}

}  // namespace autoglm::model

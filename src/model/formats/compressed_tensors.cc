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
#include "kernels/half.h"

namespace autoglm::model {
namespace {

using kernels::DType;
using Scales = CompressedScheme::Scales;

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kPacked = ".weight_packed";

std::size_t words(std::size_t count, int bits) { return (count * static_cast<std::size_t>(bits) + 31) / 32; }

// Columns that one scale serves, at most.
std::size_t group_columns(const CompressedMatrix& matrix) {
  return matrix.scheme.group == 0 ? matrix.columns : matrix.scheme.group;
}

// Code `index` of packed words or signed bytes, unsigned.
int code_at(const CompressedScheme& scheme, const std::byte* from, std::size_t index) {
  if (scheme.bits == 4) return static_cast<int>(from[index / 2] >> (4 * (index % 2))) & 15;
  return static_cast<int>(from[index]) ^ (scheme.is_packed ? 0 : 0x80);
}

float scale_of(DType type, const std::byte* from, std::size_t index) {
  float scale = 0;
  kernels::dequantize(type, from + index * kernels::traits(type).block_bytes, &scale, 1);
  return scale;
}

void put_half(float value, std::byte* to) {
  const std::uint16_t bits = kernels::f16_from_f32(value);
  std::memcpy(to, &bits, sizeof(bits));
}

float half(float value) { return kernels::f32_from_f16(kernels::f16_from_f32(value)); }

// The tensors of one matrix while they are looked at.
class Gatherer final {
 public:
  Gatherer(const CompressedScheme& scheme, std::span<const StoredTensor> tensors)
      : scheme_(scheme), tensors_(tensors) {}

  /// `codes` is its NAME.weight_packed or int8 NAME.weight.
  Result<CompressedMatrix> gather(const StoredTensor& codes) {
    CompressedMatrix matrix{.scheme = scheme_, .codes = codes.bytes};
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
      const float scale = scale_of(matrix.scale_type, matrix.scales.data(), i);
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

  const CompressedScheme& scheme_;
  std::span<const StoredTensor> tensors_;
  std::string about_;
};

}  // namespace

std::size_t CompressedMatrix::code_row_bytes() const {
  return scheme.is_packed ? 4 * words(columns, scheme.bits) : columns;
}

DType CompressedMatrix::block_type() const {
  const bool has_whole_blocks = columns % kBlockColumns == 0 && group_columns(*this) % kBlockColumns == 0;
  if (!has_whole_blocks || (scheme.bits == 8 && !scheme.is_symmetric)) return DType::kF16;
  if (scheme.bits == 8) return DType::kQ8_0;
  return scheme.is_symmetric ? DType::kQ4_0 : DType::kQ4_1;
}

float CompressedMatrix::scale_at(std::size_t row, std::size_t group) const {
  return scale_of(scale_type, scales.data(), scheme.scales == Scales::kTensor ? 0 : row * groups() + group);
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
  for (std::size_t row = first; row < first + count; ++row) {
    const std::byte* const from = codes.data() + row * code_row_bytes();
    float scale = 0;
    int zero = 0;
    for (std::size_t column = 0; column < columns;) {
      if (column % group_columns(*this) == 0) {
        scale = scale_at(row, column / group_columns(*this));
        zero = zero_at(row, column / group_columns(*this));
      }
      if (type == DType::kF16) {
        put_half(scale * static_cast<float>(code_at(scheme, from, column) - zero), to);
        to += 2;
        ++column;
        continue;
      }
      put_half(scale, to);
      to += 2;
      if (type == DType::kQ4_1) {
        put_half(-static_cast<float>(zero) * half(scale), to);
        to += 2;
      }
      const std::size_t bytes = scheme.bits == 4 ? kBlockColumns / 2 : kBlockColumns;
      for (std::size_t i = 0; i < bytes; ++i) {
        const int code = code_at(scheme, from, column + i);
        const int byte = scheme.bits == 8 ? code ^ 0x80 : code | (code_at(scheme, from, column + 16 + i) << 4);
        to[i] = static_cast<std::byte>(byte);
      }
      to += bytes;
      column += kBlockColumns;
    }
  }
}

Result<std::vector<std::unique_ptr<const CompressedMatrix>>> gather_compressed(const CompressedScheme& scheme,
                                                                               std::vector<StoredTensor>& tensors) {
  Gatherer gatherer(scheme, tensors);
  std::vector<std::unique_ptr<const CompressedMatrix>> matrices;
  std::vector<StoredTensor> made;
  std::vector<std::string_view> taken;
  for (const StoredTensor& codes : tensors) {
    const bool is_bytes = codes.name.ends_with(kWeight) && codes.stored_type_name == "I8";
    if (scheme.is_packed ? !codes.name.ends_with(kPacked) : !is_bytes) continue;
    matrices.push_back(std::make_unique<const CompressedMatrix>(TRY(gatherer.gather(codes))));
    const CompressedMatrix& matrix = *matrices.back();
    made.push_back({.name = Gatherer::name_of(codes),
                    .shape = {matrix.rows, matrix.columns},
                    .rank = 2,
                    .type = matrix.block_type(),
                    .bytes = matrix.codes,
                    .compressed = &matrix});
    taken.push_back(codes.name);
    for (const std::string_view suffix : {"_scale", "_zero_point", "_shape"}) {
      if (suffix == "_zero_point" && scheme.is_symmetric) continue;
      if (suffix == "_shape" && !scheme.is_packed) continue;
      taken.push_back(gatherer.part(codes, suffix)->name);
    }
  }
  std::ranges::sort(taken);
  std::erase_if(tensors, [&](const StoredTensor& tensor) { return std::ranges::binary_search(taken, tensor.name); });
  tensors.insert(tensors.end(), made.begin(), made.end());
  std::ranges::sort(tensors, {}, &StoredTensor::name);
  const auto twin = std::ranges::adjacent_find(tensors, {}, &StoredTensor::name);
  if (twin != tensors.end()) {
    return fail(Code::kCorrupt,
                "the tensor \"" + base::printable(twin->name) + "\" is there both quantised and as it is");
  }
  return matrices;
}

}  // namespace autoglm::model

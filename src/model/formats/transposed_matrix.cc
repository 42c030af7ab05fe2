// SPDX-License-Identifier: Apache-2.0
#include "model/formats/transposed_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "kernels/quantize.h"

namespace autoglm::model {
namespace {

using kernels::DType;
using Layout = TransposedScheme::Layout;

constexpr std::string_view kTransposedCodes = ".qweight";
// A zero point that is stored less one may be 256 above a code: 256 of these stay inside f16.
constexpr float kMostScale = QuantizedMatrix::kMaxScale - 1;
// Rows that are expanded at a time: as many as a cache line has words of codes.
constexpr std::size_t kTileRows = 16;

// The place within a word of the code for output j of those that share it. Source: AutoAWQ, packing_utils.py, for 4
// bits; vLLM, quant_utils.py (awq_pack), for 8.
constexpr unsigned kAwqPlace4[8] = {0, 4, 1, 5, 2, 6, 3, 7};
constexpr unsigned kAwqPlace8[4] = {0, 2, 1, 3};

unsigned place_of(const TransposedScheme& scheme, std::size_t index) {
  if (scheme.layout == Layout::kGptq) return static_cast<unsigned>(index);
  return scheme.bits == 4 ? kAwqPlace4[index] : kAwqPlace8[index];
}

std::uint32_t word_at(std::span<const std::byte> words, std::size_t index) {
  std::uint32_t word = 0;
  std::memcpy(&word, words.data() + 4 * index, sizeof(word));
  return word;
}

std::uint32_t code_in(std::uint32_t word, unsigned place, int bits) {
  return word >> (place * static_cast<unsigned>(bits)) & ((1u << bits) - 1);
}

// The tensors of one matrix while they are looked at.
class TransposedGatherer final {
 public:
  TransposedGatherer(const TransposedScheme& scheme, std::span<const StoredTensor> tensors)
      : scheme_(scheme), tensors_(tensors) {}

  /// `codes` is its NAME.qweight.
  Result<TransposedMatrix> gather(const StoredTensor& codes) {
    about_ = "the quantised matrix \"" + base::printable(name_of(codes)) + "\"";
    TransposedMatrix matrix;
    matrix.scheme = scheme_;
    if (codes.rank != 2 || codes.stored_type_name != "I32") {
      return broken("its codes are " + codes.type_text() + codes.shape_text() + ", not a matrix of I32");
    }
    const bool is_gptq = scheme_.layout == Layout::kGptq;
    matrix.codes = codes.bytes;
    matrix.columns = codes.shape[0] * (is_gptq ? matrix.in_word() : 1);
    matrix.rows = codes.shape[1] * (is_gptq ? 1 : matrix.in_word());
    if (matrix.rows == 0 || matrix.columns == 0) return broken("it has no elements");
    if (matrix.rows % matrix.in_word() != 0) {
      return broken("its " + std::to_string(matrix.rows) + " outputs do not fill words of " +
                    std::to_string(matrix.in_word()));
    }
    TRY(read_scales(codes, matrix));
    TRY(read_zeros(codes, matrix));
    if (const StoredTensor* order = part(codes, ".g_idx"); order != nullptr) TRY(read_order(*order, matrix));
    if (scheme_.has_order && matrix.group_of.empty()) return broken("it has no .g_idx");
    return matrix;
  }

  static std::string_view stem_of(const StoredTensor& codes) {
    return codes.name.substr(0, codes.name.size() - kTransposedCodes.size());
  }
  static std::string name_of(const StoredTensor& codes) { return std::string(stem_of(codes)) + ".weight"; }

  const StoredTensor* part(const StoredTensor& codes, std::string_view suffix) const {
    const std::string name = std::string(stem_of(codes)) + std::string(suffix);
    const auto found = std::ranges::lower_bound(tensors_, name, {}, &StoredTensor::name);
    return found != tensors_.end() && found->name == name ? &*found : nullptr;
  }

 private:
  std::unexpected<Error> broken(const std::string& message) const {
    return fail(Code::kCorrupt, about_ + ": " + message);
  }

  // A part that must be there, a table of so many columns for each group.
  Result<const StoredTensor*> table(const StoredTensor& codes, std::string_view suffix, std::size_t groups,
                                    std::size_t columns) const {
    const StoredTensor* const found = part(codes, suffix);
    if (found == nullptr) return broken("it has no " + std::string(suffix));
    if (found->rank != 2 || found->shape[0] != groups || found->shape[1] != columns) {
      return broken("its " + std::string(suffix) + " are " + found->shape_text() + "; expected [" +
                    std::to_string(groups) + ", " + std::to_string(columns) + "]");
    }
    return found;
  }

  Status read_scales(const StoredTensor& codes, TransposedMatrix& matrix) const {
    const StoredTensor& scales = *TRY(table(codes, ".scales", matrix.groups(), matrix.rows));
    if (!scales.type) return broken("its scales are " + scales.type_text() + ", not F32, F16 or BF16");
    matrix.scale_type = *scales.type;
    matrix.scales = scales.bytes;
    for (std::size_t i = 0; i < scales.elements(); ++i) {
      const float scale = stored_scale(matrix.scale_type, matrix.scales, i);
      if (!(std::fabs(scale) <= kMostScale)) {
        return broken("scale " + std::to_string(i) + " is " + std::to_string(scale) + "; at most 255 is allowed");
      }
    }
    return {};
  }

  Status read_zeros(const StoredTensor& codes, TransposedMatrix& matrix) const {
    const StoredTensor& zeros = *TRY(table(codes, ".qzeros", matrix.groups(), matrix.rows / matrix.in_word()));
    if (zeros.stored_type_name != "I32") return broken("its zero points are " + zeros.type_text() + ", not I32");
    matrix.zeros = zeros.bytes;
    matrix.is_plain = true;
    for (std::size_t group = 0; group < matrix.groups() && matrix.is_plain; ++group) {
      for (std::size_t row = 0; row < matrix.rows && matrix.is_plain; ++row) {
        matrix.is_plain = matrix.zero_at(row, group) == 1 << (scheme_.bits - 1);
      }
    }
    return {};
  }

  // It is there in files that have no order too, and then nobody reads it.
  Status read_order(const StoredTensor& order, TransposedMatrix& matrix) const {
    if (order.stored_type_name != "I32" || order.rank != 1 || order.shape[0] != matrix.columns) {
      return broken("its .g_idx is " + order.type_text() + order.shape_text() + "; expected I32[" +
                    std::to_string(matrix.columns) + "]");
    }
    if (!scheme_.has_order) return {};
    for (std::size_t i = 0; i < matrix.columns; ++i) {
      if (word_at(order.bytes, i) >= matrix.groups()) {
        return broken("input " + std::to_string(i) + " is of group " + std::to_string(word_at(order.bytes, i)) +
                      " of " + std::to_string(matrix.groups()));
      }
    }
    matrix.group_of = order.bytes;
    return {};
  }

  const TransposedScheme& scheme_;
  std::span<const StoredTensor> tensors_;
  std::string about_;
};

}  // namespace

std::uint32_t TransposedMatrix::code_at(std::size_t row, std::size_t column) const {
  if (scheme.layout == Layout::kGptq) {
    return code_in(word_at(codes, column / in_word() * rows + row), static_cast<unsigned>(column % in_word()),
                   scheme.bits);
  }
  const std::uint32_t word = word_at(codes, column * (rows / in_word()) + row / in_word());
  return code_in(word, place_of(scheme, row % in_word()), scheme.bits);
}

int TransposedMatrix::zero_at(std::size_t row, std::size_t group) const {
  const std::uint32_t word = word_at(zeros, group * (rows / in_word()) + row / in_word());
  const std::uint32_t zero = code_in(word, place_of(scheme, row % in_word()), scheme.bits);
  return static_cast<int>(zero) + (scheme.is_one_less ? 1 : 0);
}

DType TransposedMatrix::block_type() const {
  return block_type_of(columns, group(), scheme.bits, is_plain, !scheme.has_order);
}

void TransposedMatrix::expand(std::size_t first, std::size_t count, std::byte* to) const {
  CHECK(first + count <= rows) << first << " + " << count << " of " << rows;
  std::vector<std::uint8_t> tile(std::min(count, kTileRows) * columns);
  std::vector<float> row_scales(groups());
  std::vector<int> row_zeros(groups());
  std::vector<std::uint32_t> order(group_of.size() / sizeof(std::uint32_t));
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = word_at(group_of, i);
  for (std::size_t begin = first; begin < first + count; begin += kTileRows) {
    const std::size_t tile_rows = std::min(kTileRows, first + count - begin);
    for (std::size_t column = 0; column < columns; ++column) {
      for (std::size_t i = 0; i < tile_rows; ++i) {
        tile[i * columns + column] = static_cast<std::uint8_t>(code_at(begin + i, column));
      }
    }
    for (std::size_t i = 0; i < tile_rows; ++i) {
      for (std::size_t group = 0; group < groups(); ++group) {
        row_scales[group] = stored_scale(scale_type, scales, group * rows + begin + i);
        row_zeros[group] = zero_at(begin + i, group);
      }
      to = put_row(block_type(),
                   {.codes = std::span(tile).subspan(i * columns, columns),
                    .bits = scheme.bits,
                    .group = group(),
                    .scales = row_scales,
                    .zeros = row_zeros,
                    .group_of = order},
                   to);
    }
  }
}

Result<std::vector<std::unique_ptr<const QuantizedMatrix>>> gather_transposed(const TransposedScheme& scheme,
                                                                              std::vector<StoredTensor>& tensors) {
  TransposedGatherer gatherer(scheme, tensors);
  std::vector<std::unique_ptr<const QuantizedMatrix>> matrices;
  std::vector<StoredTensor> made;
  std::vector<std::string_view> taken;
  for (const StoredTensor& codes : tensors) {
    if (!codes.name.ends_with(kTransposedCodes)) continue;
    auto gathered = std::make_unique<TransposedMatrix>(TRY(gatherer.gather(codes)));
    gathered->name = TransposedGatherer::name_of(codes);
    made.push_back({.name = gathered->name,
                    .shape = {gathered->rows, gathered->columns},
                    .rank = 2,
                    .type = gathered->block_type(),
                    .bytes = gathered->codes,
                    .compressed = gathered.get()});
    matrices.push_back(std::move(gathered));
    for (const std::string_view suffix :
         {kTransposedCodes, std::string_view(".qzeros"), std::string_view(".scales"), std::string_view(".g_idx")}) {
      if (const StoredTensor* part = gatherer.part(codes, suffix); part != nullptr) taken.push_back(part->name);
    }
  }
  TRY(replace_parts(tensors, std::move(taken), made));
  return matrices;
}

}  // namespace autoglm::model

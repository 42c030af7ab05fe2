// SPDX-License-Identifier: Apache-2.0
// Quantised matrices of a safetensors folder as GPTQ and AWQ write them: codes of the transposed matrix in words, which
// run along the inputs (GPTQ) or along the outputs in an order of their own (AWQ). Every name, type, shape and scale
// comes from untrusted files and is checked here, once. Immutable once gathered; any thread. Layout:
// docs/formats/safetensors.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "model/formats/quantized_matrix.h"
#include "model/formats/stored_tensor.h"

namespace autoglm::model {

// How all quantised matrices of a folder are stored.
struct TransposedScheme {
  enum class Layout : std::uint8_t { kGptq, kAwq };

  Layout layout = Layout::kGptq;
  int bits = 4;             // or 8
  std::size_t group = 0;    // inputs that share a scale; 0 = all
  bool has_order = false;   // a group's inputs do not lie side by side: g_idx names each one's
  bool is_one_less = true;  // zero points are stored less one

  bool operator==(const TransposedScheme&) const = default;
};

/// The scheme that `quantization_config` of a config.json describes; nothing when there is none, or it is of another
/// method than "gptq" and "awq".
///   Errors   kInvalidArgument (bits, a layout and what else we do not run, by name), kCorrupt (a key is missing or of
///            the wrong type)
Result<std::optional<TransposedScheme>> find_transposed_scheme(const json::Object& config);

// One matrix and where its parts lie: value = scale * (code - zero).
class TransposedMatrix final : public QuantizedMatrix {
 public:
  std::string name;  // of the tensor that it is in place of its parts
  TransposedScheme scheme;
  kernels::DType scale_type = kernels::DType::kF16;  // F32, F16 or BF16
  std::span<const std::byte> codes;                  // words; rows are outputs, columns inputs
  std::span<const std::byte> zeros;                  // words [groups, rows / codes in a word]
  std::span<const std::byte> scales;                 // [groups, rows]
  std::span<const std::byte> group_of;               // I32 [columns]; empty unless the scheme has an order
  bool is_plain = false;                             // every zero is in the middle of the codes

  std::size_t in_word() const { return 32 / static_cast<std::size_t>(scheme.bits); }
  std::size_t group() const { return scheme.group == 0 ? columns : scheme.group; }
  std::size_t groups() const { return (columns + group() - 1) / group(); }
  int zero_at(std::size_t row, std::size_t group) const;

  std::uint64_t bytes() const override { return codes.size() + zeros.size() + scales.size() + group_of.size(); }
  kernels::DType block_type() const override;
  void expand(std::size_t first, std::size_t count, std::byte* to) const override;

 private:
  std::uint32_t code_at(std::size_t row, std::size_t column) const;
};

/// Takes the parts of every quantised matrix out of `tensors` (NAME.qweight, qzeros, scales, g_idx) and puts one tensor
/// NAME.weight of block_type() in their place, which points to an entry of the result. Keeps the order by name.
///   Errors   kCorrupt: a part is missing or does not fit the others, or a scale is not finite or above 255
Result<std::vector<std::unique_ptr<const QuantizedMatrix>>> gather_transposed(const TransposedScheme& scheme,
                                                                              std::vector<StoredTensor>& tensors);

}  // namespace autoglm::model

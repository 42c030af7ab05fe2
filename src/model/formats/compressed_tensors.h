// SPDX-License-Identifier: Apache-2.0
// Quantised matrices of a safetensors folder in the compressed-tensors convention: what `quantization_config` says, the
// tensors that make up one matrix, and how they become blocks that the kernels run. Every name, type, shape and scale
// comes from untrusted files and is checked here, once. Immutable once gathered; any thread. Layout and bounds:
// docs/formats/safetensors.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "kernels/dtype.h"
#include "model/formats/quantized_matrix.h"
#include "model/formats/stored_tensor.h"

namespace autoglm::model {

// How all quantised matrices of a folder are stored.
struct CompressedScheme {
  enum class Scales : std::uint8_t { kTensor, kRow, kGroup };

  int bits = 8;            // 4 or 8
  bool is_packed = false;  // pack-quantized: codes and zero points in 32-bit words; else int-quantized: signed bytes
  bool is_symmetric = true;
  Scales scales = Scales::kRow;
  std::size_t group = 0;   // columns that share a scale; 0 unless kGroup
  bool has_order = false;  // a group's columns do not lie side by side: weight_g_idx names each one's

  bool operator==(const CompressedScheme&) const = default;
};

/// The scheme that `quantization_config` of a config.json describes; nothing when there is none, or it is of another
/// method.
///   Errors   kInvalidArgument (several schemes, floats and what else we do not run, by name), kCorrupt (a key is
///            missing or of the wrong type)
Result<std::optional<CompressedScheme>> find_compressed_scheme(const json::Object& config);

// One matrix and where its parts lie: value = scale * (code - zero).
class CompressedMatrix final : public QuantizedMatrix {
 public:
  CompressedScheme scheme;
  kernels::DType scale_type = kernels::DType::kF16;  // F32, F16 or BF16
  std::span<const std::byte> codes, scales;
  std::span<const std::byte> zeros;     // empty when symmetric
  std::span<const std::byte> group_of;  // empty unless the scheme has an order

  std::size_t groups() const { return scheme.group == 0 ? 1 : columns / scheme.group; }  // of a row
  std::size_t code_row_bytes() const;

  std::uint64_t bytes() const override { return codes.size() + scales.size() + zeros.size() + group_of.size(); }
  kernels::DType block_type() const override;
  void expand(std::size_t first, std::size_t count, std::byte* to) const override;

 private:
  float scale_at(std::size_t row, std::size_t group) const;
  int zero_at(std::size_t row, std::size_t group) const;
};

/// Takes the parts of every quantised matrix out of `tensors` (NAME.weight_packed or an int8 NAME.weight, and their
/// scales, zero points and shapes) and puts one tensor NAME.weight of block_type() in their place, which points to an
/// entry of the result. Keeps the order by name.
///   Errors   kCorrupt: a part is missing or does not fit the others, or a scale is not finite or above kMaxScale
Result<std::vector<std::unique_ptr<const QuantizedMatrix>>> gather_compressed(const CompressedScheme& scheme,
                                                                              std::vector<StoredTensor>& tensors);

}  // namespace autoglm::model

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
#include "model/formats/stored_tensor.h"

namespace autoglm::model {

// Columns of the blocks that quantised rows become.
inline constexpr std::size_t kBlockColumns = 32;

// How all quantised matrices of a folder are stored.
struct CompressedScheme {
  enum class Scales : std::uint8_t { kTensor, kRow, kGroup };

  int bits = 8;            // 4 or 8
  bool is_packed = false;  // pack-quantized: codes and zero points in 32-bit words; else int-quantized: signed bytes
  bool is_symmetric = true;
  Scales scales = Scales::kRow;
  std::size_t group = 0;  // columns that share a scale; 0 unless kGroup

  bool operator==(const CompressedScheme&) const = default;
};

/// The scheme that `quantization_config` of a config.json describes; nothing when there is none.
///   Errors   kInvalidArgument (another method, several schemes, floats, activation orders and what else we do not run,
///            by name), kCorrupt (a key is missing or of the wrong type)
Result<std::optional<CompressedScheme>> find_compressed_scheme(const json::Object& config);

// One matrix and where its parts lie: value = scale * (code - zero).
struct CompressedMatrix {
  static constexpr float kMaxScale = 256;  // keeps 255 scales inside f16

  CompressedScheme scheme;
  std::size_t rows = 0;
  std::size_t columns = 0;
  kernels::DType scale_type = kernels::DType::kF16;  // F32, F16 or BF16
  std::span<const std::byte> codes, scales;
  std::span<const std::byte> zeros;  // empty when symmetric

  std::size_t groups() const { return scheme.group == 0 ? 1 : columns / scheme.group; }  // of a row
  std::size_t code_row_bytes() const;
  std::uint64_t bytes() const { return codes.size() + scales.size() + zeros.size(); }

  /// The type that its rows become: Q8_0 (8 bits, symmetric), Q4_0, Q4_1 (4 bits), F16 where groups are not whole
  /// blocks of 32 or codes of 8 bits have a zero point.
  kernels::DType block_type() const;

  /// Rows [first, first + count) as blocks of block_type(). Codes are kept as they are. Scales become f16: exact for
  /// an f16, and for a bf16 of at least 2^-17; else within 2^-11 of themselves. The minimum of a Q4_1, -zero * scale,
  /// and the values of an F16 are rounded to f16 once.
  void expand(std::size_t first, std::size_t count, std::byte* to) const;

 private:
  float scale_at(std::size_t row, std::size_t group) const;
  int zero_at(std::size_t row, std::size_t group) const;
};

/// Takes the parts of every quantised matrix out of `tensors` (NAME.weight_packed or an int8 NAME.weight, and their
/// scales, zero points and shapes) and puts one tensor NAME.weight of block_type() in their place, which points to an
/// entry of the result. Keeps the order by name.
///   Errors   kCorrupt: a part is missing or does not fit the others, or a scale is not finite or above kMaxScale
Result<std::vector<std::unique_ptr<const CompressedMatrix>>> gather_compressed(const CompressedScheme& scheme,
                                                                               std::vector<StoredTensor>& tensors);

}  // namespace autoglm::model

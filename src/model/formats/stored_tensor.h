// SPDX-License-Identifier: Apache-2.0
// A tensor as a checkpoint file holds it: a checked view on mapped bytes. Plain value; the file must outlive it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kernels/dtype.h"

namespace autoglm::model {

class QuantizedMatrix;

struct StoredTensor {
  static constexpr std::size_t kMaxRank = 5;  // a convolution over frames

  std::string_view name;
  std::array<std::uint64_t, kMaxRank> shape{};  // slowest dimension first, as Hugging Face writes it
  std::uint32_t rank = 0;
  std::optional<kernels::DType> type;  // nothing when we do not run this type; its extent is then unchecked
  std::uint32_t stored_type = 0;       // the file's own id of the type (GGUF), for messages
  std::string_view stored_type_name;   // the file's own name of the type (safetensors), for messages
  std::span<const std::byte> bytes;    // empty when the type is not ours and the file a GGUF

  // Of a matrix that the file holds in parts (formats/quantized_matrix.h): `type` is what its rows become, and
  // `bytes` are its codes only. Null for all others.
  const QuantizedMatrix* compressed = nullptr;

  std::uint64_t elements() const {
    std::uint64_t product = 1;
    for (std::uint32_t i = 0; i < rank; ++i) product *= shape[i];
    return product;
  }
  /// What it takes in the file, all parts together.
  std::uint64_t file_bytes() const;
  /// "Q4_K", or the file's own word for a type that we do not run.
  std::string type_text() const;
  /// "[72, 104]"
  std::string shape_text() const;
};

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
// A tensor of a checkpoint that is being written, and the headers that place such tensors in a file. Sizes are known
// before a byte of data is, so a header is written first and data wherever they become ready. Plain values; any thread.
// Layouts: docs/formats/gguf.md, docs/formats/safetensors.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/dtype.h"
#include "model/formats/gguf.h"

namespace autoglm::model {

struct OutputTensor {
  std::string name;
  std::vector<std::uint64_t> shape;            // slowest dimension first
  kernels::DType type = kernels::DType::kF32;  // of a GGUF
  std::string dtype;                           // of a safetensors file: "BF16", "I32"
  std::uint64_t bytes = 0;
  std::uint64_t offset = 0;  // in the file; set by the header
};

struct OutputHeader {
  std::string bytes;             // what the file begins with
  std::uint64_t file_bytes = 0;  // of the whole file
};

/// A GGUF v3 header of `pairs`, written in this order, and `tensors`, placed in this order at multiples of `alignment`.
OutputHeader gguf_header(std::span<const GgufFile::Pair> pairs, std::uint64_t alignment,
                         std::span<OutputTensor> tensors);

/// A safetensors header; tensors are placed by falling size of their elements, so that each begins at a multiple of it.
OutputHeader safetensors_header(std::span<OutputTensor> tensors);

}  // namespace autoglm::model

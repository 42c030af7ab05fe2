// SPDX-License-Identifier: Apache-2.0
// How a checkpoint becomes the files of a smaller one: a plan that names every tensor of the new weight file and how
// its rows are made. One planner for each format; only quantize.cc carries plans out.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "kernels/quantize.h"
#include "model/families/family.h"
#include "model/formats/checkpoint.h"
#include "model/formats/output_tensor.h"
#include "model/quantize.h"

namespace autoglm::model {

// Rounds the rows of one matrix. convert() may run on several threads, for different rows.
class RowConverter {
 public:
  virtual ~RowConverter() = default;
  virtual std::string type_text() const = 0;
  virtual std::size_t row_bytes() const = 0;
  /// The largest magnitude that a value may have.
  virtual float limit() const = 0;
  /// Takes memory for what is not written row by row.
  virtual void begin() {}
  /// Writes row `row` to `to` and what a reader will make of it to `back`.
  virtual void convert(std::size_t row, std::span<const float> from, std::byte* to, float* back) = 0;
  /// The bytes of part `index` >= 1 of the matrix, once all rows are converted; gives their memory back.
  virtual std::vector<std::byte> take_part(std::size_t index);
};

/// Blocks of a type that kernels::quantize() writes.
std::unique_ptr<RowConverter> convert_to_blocks(kernels::DType type, std::size_t columns);

// One tensor of the source in the new file.
struct PlannedTensor {
  const StoredTensor* source = nullptr;
  std::unique_ptr<RowConverter> rows;  // null = its bytes are copied
  std::size_t first_part = 0;          // in ConversionPlan::parts
  std::size_t part_count = 1;
  std::string note;  // as in ConvertedTensor
};

struct ConversionPlan {
  std::string file_name;            // of the weights
  OutputHeader header;              // what it begins with
  std::vector<OutputTensor> parts;  // placed
  std::vector<PlannedTensor> tensors;
  std::vector<std::pair<std::string, std::string>> small_files;  // name and text
  std::vector<std::filesystem::path> copied_files;
};

/// Errors: as quantize_model().
Result<ConversionPlan> plan_gguf(const Checkpoint& checkpoint, const Description& description,
                                 const QuantizeOptions& options);
Result<ConversionPlan> plan_safetensors(const Checkpoint& checkpoint, const Description& description,
                                        const std::filesystem::path& folder, const QuantizeOptions& options);

}  // namespace autoglm::model

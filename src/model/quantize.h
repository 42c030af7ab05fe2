// SPDX-License-Identifier: Apache-2.0
// Makes a smaller model of a model: reads a checkpoint tensor by tensor, rounds its matrices and writes a folder that
// load_model() and others load. Vectors (norms, biases) stay as they are. Memory is bounded by a few rows and one
// matrix's scales, whatever the model's size; the folder appears whole or not at all. One thread, and a pool of its
// own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace autoglm::model {

enum class WeightKind : std::uint8_t { kInt8, kInt4, kF16, kBF16 };
enum class OutputFormat : std::uint8_t { kGguf, kSafetensors };

struct QuantizeOptions {
  WeightKind kind = WeightKind::kInt8;
  bool is_symmetric = true;
  std::optional<std::size_t> group;    // columns that share a scale, 0 = a whole row; nothing = the format's usual
  std::optional<OutputFormat> format;  // nothing = the source's own
  int threads = 1;
  std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)> progress;  // of the source; may be empty
  std::function<bool()> is_cancelled;                                                 // may be empty
};

struct ConvertedTensor {
  std::string name;
  std::string from, to;  // element types
  std::uint64_t elements = 0;
  std::uint64_t bytes_before = 0, bytes_after = 0;
  double relative_error = 0;  // root of (sum of squared errors / sum of squares)
  std::string note;           // why it is not what was asked for; empty = it is
};

struct QuantizeReport {
  OutputFormat format = OutputFormat::kGguf;
  std::vector<ConvertedTensor> tensors;
  std::uint64_t parameters = 0;
  std::uint64_t bytes_before = 0, bytes_after = 0;  // of the weight files
};

/// Writes `output`, which must not exist or be an empty folder.
///   Errors   as load_model() for the source; kInvalidArgument: `output` is there already, or the format cannot express
///            what is asked for (`where` names the option: "format", "scheme", "group_size"; the message the format
///            that can); kCorrupt: a weight is not finite or too large for the type; kExhausted (disk), kCancelled.
///            None of them leaves anything at `output`.
Result<QuantizeReport> quantize_model(const std::filesystem::path& source, const std::filesystem::path& output,
                                      const QuantizeOptions& options);

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
// A checkpoint on disk, whichever way it is stored: one GGUF file, or a folder of safetensors with its JSON files.
// Opens and checks the files, finds tensors by name and reads the small files beside them. Immutable once open; any
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/budget.h"
#include "base/json.h"
#include "base/result.h"
#include "model/formats/compressed_tensors.h"
#include "model/formats/gguf.h"
#include "model/formats/mapped_file.h"
#include "model/formats/safetensors.h"
#include "model/formats/transposed_matrix.h"

namespace autoglm::model {

class Checkpoint final {
 public:
  /// Opens a .gguf file, a folder with model.safetensors (or its index and shards) and config.json, or a folder that
  /// holds one .gguf file.
  ///   Errors   kNotFound, kPermissionDenied, kCorrupt, kInvalidArgument (no checkpoint, several of them), kExhausted
  static Result<Checkpoint> open(const std::filesystem::path& path);

  /// The parsed GGUF, or null when this is a safetensors folder.
  const GgufFile* gguf() const { return gguf_ ? &*gguf_ : nullptr; }
  /// config.json and generation_config.json of a folder; empty objects where they are missing or this is a GGUF.
  const json::Object& config() const { return config_; }
  const json::Object& generation_config() const { return generation_config_; }

  std::span<const StoredTensor> tensors() const { return tensors_; }  // sorted by name
  const StoredTensor* find(std::string_view name) const;
  std::uint64_t file_bytes() const;

  /// Paging of one tensor's bytes: ask before packing, let go afterwards.
  void ask_for(const StoredTensor& tensor) const;
  void let_go(const StoredTensor& tensor) const { let_go(tensor, tensor.bytes); }
  void let_go(const StoredTensor& tensor, std::span<const std::byte> part) const;  // of its bytes

 private:
  Status add_shard(const std::filesystem::path& path);
  Status open_gguf(const std::filesystem::path& path);
  Status open_folder(const std::filesystem::path& folder);
  Status index_tensors();
  Status gather_quantized();
  const MappedFile* file_of(const StoredTensor& tensor) const;

  std::vector<MappedFile> files_;
  std::optional<GgufFile> gguf_;
  std::vector<SafetensorsFile> shards_;
  std::vector<StoredTensor> tensors_;
  std::vector<std::unique_ptr<const QuantizedMatrix>> compressed_;  // what tensors_ point to
  json::Object config_;
  json::Object generation_config_;
};

/// A whole small file: nothing when it does not exist, kExhausted when it is larger than `limit_bytes`.
Result<std::optional<std::string>> read_small_file(const std::filesystem::path& path, std::uint64_t limit_bytes);

/// Its JSON object; an empty one when the file does not exist. Errors: kExhausted, kCorrupt.
Result<json::Object> read_object(const std::filesystem::path& path, std::uint64_t limit_bytes, base::Budget budget);

/// The one .gguf in `folder`: nothing when there is none, kInvalidArgument when there are several.
Result<std::optional<std::filesystem::path>> find_gguf(const std::filesystem::path& folder);

}  // namespace autoglm::model

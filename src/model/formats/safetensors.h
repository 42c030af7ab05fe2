// SPDX-License-Identifier: Apache-2.0
// Reads safetensors: one file's header and tensor extents, and the index of a sharded checkpoint. Views on bytes that
// the caller keeps; every number is untrusted and checked. Immutable after parse(); any thread.
// Layout: docs/formats/safetensors.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/budget.h"
#include "base/result.h"
#include "model/formats/stored_tensor.h"

namespace autoglm::model {

class SafetensorsFile final {
 public:
  static constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own bound
  static constexpr std::uint64_t kMaxTensors = 262'144;
  static constexpr std::uint64_t kMaxRank = 8;  // of tensors that we only carry; those we run have at most two

  /// Parses the file that lies in `file`, which must outlive the result. Extents must be sorted by offset without gap
  /// or overlap and fill the file; bytes must be shape times type.
  ///   Errors   kCorrupt, kExhausted (budget: the JSON header's bytes and values)
  static Result<SafetensorsFile> parse(std::span<const std::byte> file, base::Budget& budget);

  std::span<const StoredTensor> tensors() const { return tensors_; }  // by rising offset

 private:
  std::unique_ptr<std::string> names_;  // all names, one after another; behind a pointer so that views survive a move
  std::vector<StoredTensor> tensors_;
};

/// File names of the shards that model.safetensors.index.json lists, each once, sorted.
///   Errors   kCorrupt (not such an index, or a name that is not a plain file name), kExhausted
Result<std::vector<std::string>> parse_shard_index(std::string_view index_json, base::Budget& budget);

}  // namespace autoglm::model

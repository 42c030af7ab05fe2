// SPDX-License-Identifier: Apache-2.0
// Walks over a checkpoint: hands out tensors by name and shape, and remembers which were asked for, so that none is
// silently left out. Not thread-safe; the checkpoint must outlive it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "model/formats/checkpoint.h"
#include "model/projection.h"

namespace autoglm::model {

class TensorReader final {
 public:
  explicit TensorReader(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  /// A tensor that must be there, of this shape and a type that we run.
  ///   Errors   kCorrupt (missing, or of another shape), kInvalidArgument (its type); all name it
  Result<const StoredTensor*> tensor(const std::string& name, std::initializer_list<std::uint64_t> shape);

  /// Its values in f32. Errors: as tensor().
  Result<std::vector<float>> values(const std::string& name, std::initializer_list<std::uint64_t> shape);
  /// A vector, `offset` added to every element. Errors: as tensor().
  Result<std::vector<float>> vector(const std::string& name, std::size_t size, float offset = 0);

  /// NAME.weight of this shape, and NAME.bias if it has one. Errors: as tensor().
  Result<StoredProjection> projection(const std::string& name, std::size_t rows, std::size_t columns, bool has_bias);

  bool has(const std::string& name) const { return checkpoint_.find(name) != nullptr; }
  void mark_used(std::string name) { used_.insert(std::move(name)); }

  /// A tensor that nobody asked for is a part of the model that we would silently leave out: kInvalidArgument names it,
  /// unless leaves_out(tensor) knows better. `what` the checkpoint is: "bert encoder".
  Status refuse_the_rest(std::string_view what, const std::function<bool(const StoredTensor&)>& leaves_out) const;

 private:
  Result<const StoredTensor*> find(const std::string& name);

  const Checkpoint& checkpoint_;
  std::unordered_set<std::string> used_;
};

}  // namespace autoglm::model

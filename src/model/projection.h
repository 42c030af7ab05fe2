// SPDX-License-Identifier: Apache-2.0
// A projection as a checkpoint stores it and as the kernels run it, and the way from the one to the other. Plain
// values.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "kernels/ops.h"
#include "model/formats/checkpoint.h"

namespace autoglm::model {

// Before it is packed: rows of a stored tensor, mostly all of them. A tensor of three dimensions is so many matrices
// one below the other.
struct StoredProjection {
  const StoredTensor* tensor = nullptr;
  std::size_t first_row = 0;
  std::size_t rows = 0;
  std::vector<float> bias = {};                  // empty = none
  std::optional<kernels::DType> packed_as = {};  // whatever is asked for; nothing = as stored, or as is asked for

  std::size_t columns() const { return tensor->shape[tensor->rank - 1]; }
  std::size_t all_rows() const { return tensor->elements() / columns(); }
  std::span<const std::byte> bytes() const;
  /// Its share of what the tensor takes in the file.
  std::uint64_t file_bytes() const { return tensor->file_bytes() * rows / all_rows(); }
  /// What it is packed as where `asked` is asked for.
  kernels::DType type(std::optional<kernels::DType> asked) const {
    if (packed_as) return *packed_as;
    return asked.value_or(*tensor->type);
  }
  /// Its extent in that type, without data.
  kernels::Tensor extent(std::optional<kernels::DType> asked) const;
};

struct Projection {
  std::unique_ptr<kernels::PackedLinear> weights;
  std::vector<float> bias;  // empty = none

  kernels::LinearJob job(const kernels::Tensor& out, bool accumulate = false) const {
    return {
        .weights = weights.get(), .out = out, .bias = bias.empty() ? nullptr : bias.data(), .accumulate = accumulate};
  }
};

/// Packs it in type(asked) and lets the file's pages go. Splits over the pool of `ops`.
Projection pack_projection(const Checkpoint& checkpoint, kernels::Ops& ops, StoredProjection from,
                           std::optional<kernels::DType> asked);

using Progress = std::function<void(std::size_t done_bytes, std::size_t total_bytes)>;

// Packs one projection after the other, and reports. One thread.
class ProjectionPacker final {
 public:
  /// `asked`: as for pack_projection(); `total_bytes` of all that will come; `progress` may be empty.
  ProjectionPacker(const Checkpoint& checkpoint, kernels::Ops& ops, std::optional<kernels::DType> asked,
                   std::size_t total_bytes, Progress progress)
      : checkpoint_(checkpoint), ops_(ops), asked_(asked), total_bytes_(total_bytes), progress_(std::move(progress)) {}

  /// One without a tensor gives one without weights.
  Projection pack(StoredProjection from);
  /// Memory of all that was packed.
  std::size_t packed_bytes() const { return packed_bytes_; }

 private:
  const Checkpoint& checkpoint_;
  kernels::Ops& ops_;
  const std::optional<kernels::DType> asked_;
  const std::size_t total_bytes_;
  const Progress progress_;
  std::size_t done_bytes_ = 0;
  std::size_t packed_bytes_ = 0;
};

/// A matrix where the kernels can read it: as the file holds it, or in `copy`.
kernels::Tensor ready_matrix(const StoredTensor& tensor, kernels::Buffer& copy);

/// The forms that projections of one input ask for.
template <typename... Projections>
kernels::ActivationForms forms_of(const kernels::Ops& ops, const Projections&... projections) {
  return (kernels::ActivationForms{} | ... | ops.forms(*projections.weights));
}

}  // namespace autoglm::model

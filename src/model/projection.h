// SPDX-License-Identifier: Apache-2.0
// A projection as a checkpoint stores it and as the kernels run it, and the way from the one to the other. Plain
// values.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
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

/// Whether the kernels can read the tensor where it lies.
bool is_ready(const StoredTensor& tensor);
/// A copy of the rows that they can read.
kernels::Buffer ready_copy(const StoredProjection& from);

/// The forms that projections of one input ask for.
template <typename... Projections>
kernels::ActivationForms forms_of(const kernels::Ops& ops, const Projections&... projections) {
  return (kernels::ActivationForms{} | ... | ops.forms(*projections.weights));
}

}  // namespace autoglm::model

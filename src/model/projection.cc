// SPDX-License-Identifier: Apache-2.0
#include "model/projection.h"

#include <cstring>
#include <utility>

#include "kernels/quantize.h"

namespace autoglm::model {
namespace {

using kernels::DType;
using kernels::Tensor;

std::size_t alignment_of(DType type) {
  return kernels::traits(type).block_elements > 1 ? 1 : kernels::traits(type).block_bytes;
}

// The values of `from` in another type, rounded to it once.
kernels::Buffer recast(const Tensor& from, DType type, base::ThreadPool& pool) {
  kernels::Buffer rows(from.rows * kernels::row_bytes(type, from.columns));
  std::vector<std::vector<float>> values(static_cast<std::size_t>(pool.threads()), std::vector<float>(from.columns));
  pool.run(from.rows, [&](std::size_t row, int worker) {
    float* const scratch = values[static_cast<std::size_t>(worker)].data();
    kernels::dequantize(from.type, from.row(row), scratch, from.columns);
    kernels::quantize(type, scratch, rows.data() + row * kernels::row_bytes(type, from.columns), from.columns);
  });
  return rows;
}

// Whether the kernels can read the tensor where it lies.
bool is_ready(const StoredTensor& tensor) {
  return tensor.compressed == nullptr &&
         reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % alignment_of(*tensor.type) == 0;
}

// A copy of the rows that they can read.
kernels::Buffer ready_copy(const StoredProjection& from) {
  if (from.tensor->compressed != nullptr) {
    const QuantizedMatrix& matrix = *from.tensor->compressed;
    kernels::Buffer blocks(from.rows * kernels::row_bytes(*from.tensor->type, matrix.columns));
    matrix.expand(from.first_row, from.rows, blocks.data());
    return blocks;
  }
  const std::span<const std::byte> bytes = from.bytes();
  kernels::Buffer copy(bytes.size());
  std::memcpy(copy.data(), bytes.data(), bytes.size());
  return copy;
}

}  // namespace

std::span<const std::byte> StoredProjection::bytes() const {
  const std::size_t row_bytes = tensor->bytes.size() / all_rows();
  return tensor->bytes.subspan(first_row * row_bytes, rows * row_bytes);
}

Tensor StoredProjection::extent(std::optional<DType> asked) const {
  return {type(asked), rows, columns(), kernels::row_bytes(type(asked), columns()), nullptr};
}

Projection pack_projection(const Checkpoint& checkpoint, kernels::Ops& ops, StoredProjection from,
                           std::optional<DType> asked) {
  kernels::Buffer copy;
  if (!is_ready(*from.tensor)) copy = ready_copy(from);
  const DType stored = *from.tensor->type;
  std::byte* const data = copy.data() != nullptr ? copy.data() : const_cast<std::byte*>(from.bytes().data());
  Tensor matrix{stored, from.rows, from.columns(), kernels::row_bytes(stored, from.columns()), data};
  if (from.type(asked) != stored) {
    kernels::Buffer other = recast(matrix, from.type(asked), ops.pool());
    matrix = from.extent(asked);
    matrix.data = other.data();
    copy = std::move(other);
  }
  Projection projection{.weights = ops.pack(matrix), .bias = std::move(from.bias)};
  checkpoint.let_go(*from.tensor, from.bytes());
  return projection;
}

Tensor ready_matrix(const StoredTensor& tensor, kernels::Buffer& copy) {
  const StoredProjection all{.tensor = &tensor, .rows = tensor.shape[0]};
  if (!is_ready(tensor)) copy = ready_copy(all);
  Tensor matrix = all.extent({});
  matrix.data = copy.data() != nullptr ? copy.data() : const_cast<std::byte*>(tensor.bytes.data());
  return matrix;
}

Projection ProjectionPacker::pack(StoredProjection from) {
  if (from.tensor == nullptr) return {};
  const std::size_t bytes = from.bytes().size();
  Projection projection = pack_projection(checkpoint_, ops_, std::move(from), asked_);
  packed_bytes_ += projection.weights->bytes();
  done_bytes_ += bytes;
  if (progress_) progress_(done_bytes_, total_bytes_);
  return projection;
}

}  // namespace autoglm::model

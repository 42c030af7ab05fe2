// SPDX-License-Identifier: Apache-2.0
// A tensor is a view on memory that somebody else owns: a Buffer, an Arena or a mapped file. Ops take tensors, so that
// a backend with memory of its own can join behind ops.h. At most two dimensions: [rows, columns], row-major.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/check.h"
#include "kernels/dtype.h"

namespace autoglm::kernels {

struct Tensor {
  DType type = DType::kF32;
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::size_t row_stride = 0;  // bytes from one row to the next; >= row_bytes(type, columns)
  std::byte* data = nullptr;

  float* f32(std::size_t row) const {
    DCHECK(type == DType::kF32 && row < rows) << "row " << row << " of " << rows;
    return reinterpret_cast<float*>(data + row * row_stride);
  }
  const std::byte* row(std::size_t index) const { return data + index * row_stride; }
  /// Rows [first, first + count).
  Tensor slice(std::size_t first, std::size_t count) const {
    DCHECK(first + count <= rows);
    return {type, count, columns, row_stride, data + first * row_stride};
  }
};

/// A dense f32 view on `data`.
inline Tensor f32_tensor(float* data, std::size_t rows, std::size_t columns) {
  return {DType::kF32, rows, columns, columns * sizeof(float), reinterpret_cast<std::byte*>(data)};
}

// Page-aligned anonymous memory, zeroed, with huge pages asked for. Sized once; moves but never grows.
class Buffer final {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// Scratch of one step: a bump pointer over a Buffer, sized at start. take() CHECKs that it fits; reset() at each step.
// Alignment 64. Engine thread only.
class Arena final {
 public:
  explicit Arena(std::size_t bytes) : buffer_(bytes) {}
  std::byte* take(std::size_t bytes);
  template <typename T>
  T* take_array(std::size_t count) {
    return reinterpret_cast<T*>(take(count * sizeof(T)));
  }
  Tensor take_f32(std::size_t rows, std::size_t columns) {
    return f32_tensor(take_array<float>(rows * columns), rows, columns);
  }
  std::size_t mark() const { return used_; }
  void reset(std::size_t mark = 0) { used_ = mark; }
  std::size_t capacity() const { return buffer_.size(); }

 private:
  Buffer buffer_;
  std::size_t used_ = 0;
};

}  // namespace autoglm::kernels

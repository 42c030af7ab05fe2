// SPDX-License-Identifier: Apache-2.0
#include "kernels/tensor.h"

#include <sys/mman.h>

#include <new>
#include <utility>

namespace autoglm::kernels {
namespace {

constexpr std::size_t kAlignment = 64;                   // one cache line, one AVX-512 register
constexpr std::size_t kHugePage = std::size_t{2} << 20;  // below this, huge pages only waste memory

}  // namespace

Buffer::Buffer(std::size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  // A wish only: kernels without huge pages refuse it and everything still works.
  if (bytes >= kHugePage) ::madvise(memory, bytes, MADV_HUGEPAGE);
  data_ = static_cast<std::byte*>(memory);
}

Buffer::~Buffer() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this == &other) return *this;
  if (data_ != nullptr) ::munmap(data_, size_);
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

std::byte* Arena::take(std::size_t bytes) {
  const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  CHECK(rounded >= bytes && rounded <= buffer_.size() - used_)
      << "arena: " << bytes << " bytes wanted, " << used_ << " of " << buffer_.size() << " used";
  std::byte* memory = buffer_.data() + used_;
  used_ += rounded;
  return memory;
}

}  // namespace autoglm::kernels

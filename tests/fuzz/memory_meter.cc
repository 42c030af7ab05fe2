// SPDX-License-Identifier: Apache-2.0
#include "memory_meter.h"

#include <algorithm>

#include "base/check.h"

#if __has_feature(address_sanitizer)
#include <sanitizer/allocator_interface.h>
#endif

namespace autoglm::fuzz {
namespace {

thread_local bool is_counting = false;
thread_local std::ptrdiff_t held_bytes = 0;  // below 0 when memory from before the meter is given back
thread_local std::ptrdiff_t most_bytes = 0;

#if __has_feature(address_sanitizer)
void count_allocation(const volatile void*, std::size_t size) {
  if (!is_counting) return;
  held_bytes += static_cast<std::ptrdiff_t>(size);
  most_bytes = std::max(most_bytes, held_bytes);
}

void count_release(const volatile void* memory) {
  if (!is_counting || memory == nullptr) return;
  held_bytes -= static_cast<std::ptrdiff_t>(__sanitizer_get_allocated_size(memory));
}

const bool is_hooked = __sanitizer_install_malloc_and_free_hooks(count_allocation, count_release) != 0;
#else
const bool is_hooked = true;
#endif

}  // namespace

MemoryMeter::MemoryMeter() {
  CHECK(is_hooked && !is_counting);
  held_bytes = 0;
  most_bytes = 0;
  is_counting = true;
}

MemoryMeter::~MemoryMeter() { is_counting = false; }

std::size_t MemoryMeter::peak_bytes() const { return static_cast<std::size_t>(most_bytes); }

}  // namespace autoglm::fuzz

// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"

#include <sys/random.h>

#include "base/check.h"

namespace autoglm::base {

std::uint64_t entropy_bits() {
  std::uint64_t bits = 0;
  CHECK(getrandom(&bits, sizeof bits, 0) == sizeof bits) << "the kernel gave no entropy";
  return bits;
}

}  // namespace autoglm::base

// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

namespace autoglm::base {

Time SystemClock::now() const { return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now()); }

std::int64_t SystemClock::unix_seconds() const {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::int64_t VirtualClock::unix_seconds() const {
  // An arbitrary fixed epoch (2026-01-01), so that transcripts of simulations never change.
  constexpr std::int64_t kEpoch = 1767225600;
  return kEpoch + std::chrono::duration_cast<std::chrono::seconds>(now_.time_since_epoch()).count();
}

}  // namespace autoglm::base

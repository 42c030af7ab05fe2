// SPDX-License-Identifier: Apache-2.0
// The seam through which time comes in. Product code asks a Clock&, so that the simulation can run the scheduler, the
// queues and their timeouts on a virtual clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace autoglm::base {

using Duration = std::chrono::nanoseconds;
using Time = std::chrono::time_point<std::chrono::steady_clock, Duration>;  // monotonic; no relation to the wall clock

class Clock {
 public:
  virtual ~Clock() = default;
  /// Monotonic now. Any thread.
  virtual Time now() const = 0;
  /// Seconds since 1970 for people and for the wire ("created"). Any thread.
  virtual std::int64_t unix_seconds() const = 0;
};

// The machine's clocks.
class SystemClock final : public Clock {
 public:
  Time now() const override;
  std::int64_t unix_seconds() const override;
};

// Time that moves only when told to. For tests and simulation; one thread.
class VirtualClock final : public Clock {
 public:
  Time now() const override { return now_; }
  std::int64_t unix_seconds() const override;
  void advance(Duration by) { now_ += by; }

 private:
  Time now_{};
};

}  // namespace autoglm::base

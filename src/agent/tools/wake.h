// SPDX-License-Identifier: Apache-2.0
// A descriptor that becomes readable when a stop is requested, so that a poll() wakes at once.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <stop_token>
#include <utility>

namespace autoglm::agent {

class StopSignal final {
 public:
  explicit StopSignal(std::stop_token stop) : stop_(std::move(stop)), on_stop_(stop_, Ring{event_.descriptor}) {}

  int descriptor() const { return event_.descriptor; }
  bool is_requested() const { return stop_.stop_requested(); }

 private:
  struct Event {
    Event() : descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
    ~Event() {
      if (descriptor >= 0) close(descriptor);
    }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    const int descriptor;
  };
  struct Ring {
    int event;
    void operator()() const {
      const std::uint64_t one = 1;
      (void)!write(event, &one, sizeof one);
    }
  };
  std::stop_token stop_;
  Event event_;
  std::stop_callback<Ring> on_stop_;  // last: its end is waited for before the event is closed
};

}  // namespace autoglm::agent

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
  explicit StopSignal(std::stop_token stop)
      : stop_(std::move(stop)), event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), on_stop_(stop_, Ring{event_}) {}
  ~StopSignal() {
    if (event_ >= 0) close(event_);
  }
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  int descriptor() const { return event_; }
  bool is_requested() const { return stop_.stop_requested(); }

 private:
  struct Ring {
    int event;
    void operator()() const {
      const std::uint64_t one = 1;
      (void)!write(event, &one, sizeof one);
    }
  };
  std::stop_token stop_;
  int event_;
  std::stop_callback<Ring> on_stop_;  // last: it ends before the descriptor is closed
};

}  // namespace autoglm::agent

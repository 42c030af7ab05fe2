// SPDX-License-Identifier: Apache-2.0
// The kernel threads: fork-join inside one op. Work is cut into `count` indices; which thread runs which index must
// never change a result. Workers spin for a short while after an op and then sleep on a futex.
#pragma once

#include <cstddef>
#include <memory>

namespace autoglm::base {

class ThreadPool final {
 public:
  /// `threads` in all, the calling thread included; 1 starts none. Thread that calls run() = the engine thread.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  /// Calls task(index, worker) once for each index in [0, count), indices handed out dynamically, and returns when all
  /// are done. worker in [0, threads()) names the thread, for scratch memory. Not reentrant; one caller at a time.
  template <typename Task>
  void run(std::size_t count, const Task& task) {
    run_raw(
        count, [](const void* t, std::size_t index, int worker) { (*static_cast<const Task*>(t))(index, worker); },
        &task);
  }

 private:
  using Call = void (*)(const void* task, std::size_t index, int worker);
  void run_raw(std::size_t count, Call call, const void* task);
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

/// Physical cores that affinity and the cgroup CPU quota leave to this process, at least 1. The default thread count.
int usable_cores();

}  // namespace autoglm::base

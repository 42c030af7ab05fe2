// SPDX-License-Identifier: Apache-2.0
// Background threads with a bounded queue before them: where requests are parsed, rendered, tokenised and their
// grammars compiled, so that neither the network thread nor the engine's waits for that.
#pragma once

#include <exception>
#include <functional>
#include <thread>
#include <vector>

#include "base/bounded_queue.h"
#include "base/log.h"

namespace autoglm::server {

class Workers final {
 public:
  using Task = std::move_only_function<void()>;

  Workers(int threads, std::size_t capacity) : tasks_(capacity, base::WhenFull::kRefuse) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
  }
  /// Finishes what is queued.
  ~Workers() {
    tasks_.close();
    for (std::thread& thread : threads_) thread.join();
  }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// False when the queue is full; `task` is then untouched. Any thread.
  bool push(Task&& task) { return tasks_.push(std::move(task)); }

 private:
  // A task that throws (memory ran out, or a library gave up) is the end of its own request, not of the process.
  void run() {
    while (auto task = tasks_.pop()) {
      try {
        (*task)();
      } catch (const std::exception& thrown) {
        LOG_ERROR("a request was dropped: {}", thrown.what());
      }
    }
  }

  base::BoundedQueue<Task> tasks_;
  std::vector<std::thread> threads_;
};

}  // namespace autoglm::server

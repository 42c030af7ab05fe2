// SPDX-License-Identifier: Apache-2.0
// Background threads with a bounded queue before them: where requests are parsed, rendered, tokenised and their
// grammars compiled, so that neither the network thread nor the engine's waits for that.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "base/bounded_queue.h"

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
  void run() {
    while (auto task = tasks_.pop()) (*task)();
  }

  base::BoundedQueue<Task> tasks_;
  std::vector<std::thread> threads_;
};

}  // namespace autoglm::server

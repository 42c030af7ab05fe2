// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <immintrin.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "base/check.h"

namespace autoglm::base {
namespace {

// How long a thread spins before it sleeps. Ops of a decode step are a few to a few tens of microseconds apart; with
// more runnable threads than cores a spinner costs at most this much per op.
constexpr auto kSpin = std::chrono::microseconds(100);
constexpr std::size_t kCacheLine = 64;
constexpr std::uint32_t kClosed = UINT32_MAX;  // an index that no op has

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected) {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

void futex_wake_all(std::atomic<std::uint32_t>& word) {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE_PRIVATE, INT32_MAX, nullptr, nullptr, 0);
}

// True as soon as ready() holds; false after kSpin.
template <typename Ready>
bool spin_until(const Ready& ready) {
  for (int i = 0; i < 64; ++i) {
    if (ready()) return true;
    _mm_pause();
  }
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      _mm_pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return ready();
}

}  // namespace

// One op at a time. The ticket holds the op's number and the next free index, so that a worker which wakes late can
// neither take an index of a later op with the fields of an earlier one nor hold up the join: run() waits for the
// indices, not for the workers.
//
// Why the fields below are read safely: a worker sees the ticket of op e, reads the fields, and claims an index by
// moving the ticket from (e, i) to (e, i + 1). Before run() writes the fields of op e + 1 it closes the ticket of op e
// (index kClosed), and the fields are stored with release and read with acquire; so whoever read a newer field finds
// the ticket closed or newer, and claims nothing.
struct ThreadPool::Shared {
  alignas(kCacheLine) std::atomic<std::uint64_t> ticket{0};  // op number << 32 | next index
  alignas(kCacheLine) std::atomic<std::size_t> completed{0};
  alignas(kCacheLine) std::atomic<Call> call{nullptr};
  std::atomic<const void*> task{nullptr};
  std::atomic<std::size_t> count{0};
  alignas(kCacheLine) std::atomic<std::uint32_t> op{0};  // what sleeping workers wait for
  std::atomic<std::uint32_t> sleeping_workers{0};
  std::atomic<std::uint32_t> joined{0};  // what a sleeping run() waits for
  std::atomic<bool> run_sleeps{false};
  std::atomic<bool> stopping{false};
  std::vector<std::thread> workers;

  // Runs indices of op `number` until none is left; returns how many it ran.
  std::size_t work(std::uint32_t number, int worker) {
    const Call run_one = call.load(std::memory_order_acquire);
    const void* what = task.load(std::memory_order_acquire);
    const std::size_t total = count.load(std::memory_order_acquire);
    std::size_t ran = 0;
    std::uint64_t seen = ticket.load(std::memory_order_acquire);
    while (static_cast<std::uint32_t>(seen >> 32) == number && static_cast<std::uint32_t>(seen) < total) {
      if (!ticket.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      run_one(what, static_cast<std::uint32_t>(seen), worker);
      ++ran;
      seen = ticket.load(std::memory_order_acquire);
    }
    return ran;
  }

  void worker_loop(int worker) {
    std::uint32_t seen = 0;
    const auto changed = [&] {
      return static_cast<std::uint32_t>(ticket.load(std::memory_order_seq_cst) >> 32) != seen ||
             stopping.load(std::memory_order_acquire);
    };
    while (true) {
      if (!spin_until(changed)) {
        sleeping_workers.fetch_add(1, std::memory_order_seq_cst);
        while (!changed()) futex_wait(op, seen);
        sleeping_workers.fetch_sub(1, std::memory_order_relaxed);
      }
      if (stopping.load(std::memory_order_acquire)) return;
      seen = static_cast<std::uint32_t>(ticket.load(std::memory_order_acquire) >> 32);
      const std::size_t total = count.load(std::memory_order_acquire);
      const std::size_t ran = work(seen, worker);
      if (ran == 0) continue;
      if (completed.fetch_add(ran, std::memory_order_seq_cst) + ran == total &&
          run_sleeps.load(std::memory_order_seq_cst)) {
        joined.fetch_add(1, std::memory_order_release);
        futex_wake_all(joined);
      }
    }
  }

  void join(std::size_t total) {
    const auto done = [&] { return completed.load(std::memory_order_acquire) == total; };
    if (spin_until(done)) return;
    run_sleeps.store(true, std::memory_order_seq_cst);
    while (true) {
      const std::uint32_t before = joined.load(std::memory_order_acquire);
      if (completed.load(std::memory_order_seq_cst) == total) break;
      futex_wait(joined, before);
    }
    run_sleeps.store(false, std::memory_order_relaxed);
  }
};

ThreadPool::ThreadPool(int threads) : shared_(std::make_unique<Shared>()) {
  CHECK(threads >= 1 && threads <= 1024) << threads << " threads";
  for (int worker = 1; worker < threads; ++worker) {
    shared_->workers.emplace_back([shared = shared_.get(), worker] { shared->worker_loop(worker); });
  }
}

ThreadPool::~ThreadPool() {
  shared_->stopping.store(true, std::memory_order_release);
  shared_->op.fetch_add(1, std::memory_order_seq_cst);
  futex_wake_all(shared_->op);
  for (std::thread& worker : shared_->workers) worker.join();
}

int ThreadPool::threads() const { return static_cast<int>(shared_->workers.size()) + 1; }

void ThreadPool::run_raw(std::size_t count, Call call, const void* task) {
  Shared& shared = *shared_;
  if (count <= 1 || shared.workers.empty()) {
    for (std::size_t index = 0; index < count; ++index) call(task, index, 0);
    return;
  }
  CHECK(count < kClosed) << count << " indices";
  const std::uint32_t previous = shared.op.load(std::memory_order_relaxed);
  const std::uint32_t number = previous + 1;
  shared.ticket.store((static_cast<std::uint64_t>(previous) << 32) | kClosed, std::memory_order_relaxed);
  shared.call.store(call, std::memory_order_release);
  shared.task.store(task, std::memory_order_release);
  shared.count.store(count, std::memory_order_release);
  shared.completed.store(0, std::memory_order_relaxed);
  shared.ticket.store(static_cast<std::uint64_t>(number) << 32, std::memory_order_seq_cst);
  shared.op.store(number, std::memory_order_seq_cst);
  if (shared.sleeping_workers.load(std::memory_order_seq_cst) != 0) futex_wake_all(shared.op);
  const std::size_t ran = shared.work(number, 0);
  if (shared.completed.fetch_add(ran, std::memory_order_acq_rel) + ran != count) shared.join(count);
}

}  // namespace autoglm::base

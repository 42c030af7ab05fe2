// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <set>
#include <thread>
#include <vector>

#include "base/random.h"

namespace autoglm::base {
namespace {

TEST(ThreadPoolTest, RunsEveryIndexOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (std::size_t count : {0u, 1u, 2u, 7u, 1000u}) {
      std::vector<int> times(count, 0);
      pool.run(count, [&](std::size_t index, int worker) {
        EXPECT_GE(worker, 0);
        EXPECT_LT(worker, threads);
        ++times[index];  // unsynchronised: two threads on one index are a race that the thread sanitizer sees
      });
      EXPECT_EQ(times, std::vector<int>(count, 1)) << threads << " threads";
    }
  }
}

TEST(ThreadPoolTest, WritesOfATaskAreSeenAfterRun) {
  ThreadPool pool(3);
  Random random(11);
  std::vector<std::uint64_t> values(64, 0);
  std::uint64_t expected = 0;
  for (int op = 0; op < 20'000; ++op) {
    const std::size_t count = random.below(values.size()) + 1;
    pool.run(count, [&](std::size_t index, int) { values[index] += index + 1; });
    expected += count * (count + 1) / 2;
  }
  std::uint64_t total = 0;
  for (std::uint64_t value : values) total += value;
  EXPECT_EQ(total, expected);
}

// Ops with different tasks and counts close upon each other: a worker that wakes late for one must not touch the next.
TEST(ThreadPoolTest, ALateWorkerNeverRunsAnIndexOfAnotherOp) {
  ThreadPool pool(6);
  for (std::size_t op = 0; op < 5'000; ++op) {
    const std::size_t count = op % 2 == 0 ? 2 : 40;
    std::vector<std::size_t> seen(count, SIZE_MAX);
    pool.run(count, [&seen, op](std::size_t index, int) { seen.at(index) = op; });
    for (std::size_t value : seen) ASSERT_EQ(value, op);
  }
}

TEST(ThreadPoolTest, TwoThreadsWorkAtTheSameTime) {
  ThreadPool pool(2);
  std::atomic<int> arrived{0};
  std::atomic<int> workers[2] = {};
  pool.run(2, [&](std::size_t, int worker) {
    workers[worker].fetch_add(1);
    arrived.fetch_add(1);
    while (arrived.load() < 2) std::this_thread::yield();  // ends only if another thread takes the other index
  });
  EXPECT_EQ(workers[0].load(), 1);
  EXPECT_EQ(workers[1].load(), 1);
}

TEST(ThreadPoolTest, WorkersThatSleepAreWoken) {
  ThreadPool pool(2);
  // Longer than workers spin: the op that follows finds them asleep.
  const auto spin_over = std::chrono::steady_clock::now() + std::chrono::milliseconds(3);
  while (std::chrono::steady_clock::now() < spin_over) std::this_thread::yield();
  std::atomic<int> arrived{0};
  pool.run(2, [&](std::size_t, int) {
    arrived.fetch_add(1);
    while (arrived.load() < 2) std::this_thread::yield();
  });
  EXPECT_EQ(arrived.load(), 2);
}

TEST(ThreadPoolTest, StopsWithoutEverHavingRun) {
  for (int i = 0; i < 50; ++i) ThreadPool pool(4);
}

TEST(ThreadPoolTest, RefusesNoThreads) { EXPECT_DEATH(ThreadPool(0), "0 threads"); }

TEST(UsableCoresTest, IsWithinAffinity) {
  cpu_set_t before;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(before), &before), 0);
  EXPECT_GE(usable_cores(), 1);
  EXPECT_LE(usable_cores(), CPU_COUNT(&before));
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(usable_cores(), 1);
  ASSERT_EQ(::sched_setaffinity(0, sizeof(before), &before), 0);
}

}  // namespace
}  // namespace autoglm::base

// SPDX-License-Identifier: Apache-2.0
#include "base/bounded_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace autoglm::base {
namespace {

TEST(BoundedQueue, KeepsOrderAndCapacity) {
  BoundedQueue<int> queue(2, WhenFull::kRefuse);
  EXPECT_EQ(queue.capacity(), 2u);
  EXPECT_TRUE(queue.push(1));
  EXPECT_TRUE(queue.push(2));
  EXPECT_FALSE(queue.push(3));
  EXPECT_EQ(queue.size(), 2u);
  EXPECT_EQ(queue.try_pop(), 1);
  EXPECT_TRUE(queue.push(3));
  EXPECT_EQ(queue.pop(), 2);
  EXPECT_EQ(queue.pop(), 3);
  EXPECT_EQ(queue.try_pop(), std::nullopt);
}

TEST(BoundedQueue, ARefusedItemIsUntouched) {
  BoundedQueue<std::unique_ptr<int>> queue(1, WhenFull::kRefuse);
  EXPECT_TRUE(queue.push(std::make_unique<int>(1)));
  auto item = std::make_unique<int>(2);
  EXPECT_FALSE(queue.push(std::move(item)));
  ASSERT_NE(item, nullptr);
  EXPECT_EQ(*item, 2);
}

TEST(BoundedQueue, AClosedQueueGivesWhatItHoldsAndTakesNothing) {
  BoundedQueue<int> queue(4, WhenFull::kWait);
  EXPECT_TRUE(queue.push(1));
  queue.close();
  EXPECT_FALSE(queue.push(2));
  EXPECT_EQ(queue.pop(), 1);
  EXPECT_EQ(queue.pop(), std::nullopt);
}

TEST(BoundedQueue, PopUntilGivesUpAtItsTime) {
  BoundedQueue<int> queue(1, WhenFull::kRefuse);
  const SystemClock clock;
  EXPECT_EQ(queue.pop_until(clock.now()), std::nullopt);
  const Time until = clock.now() + std::chrono::milliseconds(2);
  EXPECT_EQ(queue.pop_until(until), std::nullopt);
  EXPECT_GE(clock.now(), until);
  EXPECT_TRUE(queue.push(5));
  EXPECT_EQ(queue.pop_until(clock.now()), 5) << "what is there is given, whatever the time";
}

TEST(BoundedQueue, CloseWakesWhoWaits) {
  BoundedQueue<int> empty(1, WhenFull::kRefuse);
  BoundedQueue<int> full(1, WhenFull::kWait);
  EXPECT_TRUE(full.push(1));
  std::jthread popper([&] { EXPECT_EQ(empty.pop(), std::nullopt); });
  std::jthread pusher([&] { EXPECT_FALSE(full.push(2)); });
  empty.close();
  full.close();
}

TEST(BoundedQueue, ManyThreadsLoseAndRepeatNothing) {
  BoundedQueue<int> queue(3, WhenFull::kWait);
  std::atomic<long> sum = 0;
  std::atomic<int> count = 0;
  {
    std::vector<std::jthread> poppers;
    for (int t = 0; t < 3; ++t) {
      poppers.emplace_back([&] {
        while (const auto item = queue.pop()) sum += *item, ++count;
      });
    }
    {
      std::vector<std::jthread> pushers;
      for (int t = 0; t < 3; ++t) {
        pushers.emplace_back([&, t] {
          for (int i = 0; i < 1000; ++i) EXPECT_TRUE(queue.push(t * 1000 + i));
        });
      }
    }
    queue.close();
  }
  EXPECT_EQ(count, 3000);
  EXPECT_EQ(sum, 2999L * 3000 / 2);
}

TEST(BoundedQueueDeathTest, ACapacityIsNeeded) {
  EXPECT_DEATH(BoundedQueue<int>(0, WhenFull::kRefuse), "capacity > 0");
}

}  // namespace
}  // namespace autoglm::base

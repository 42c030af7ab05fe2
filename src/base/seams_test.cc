// SPDX-License-Identifier: Apache-2.0
// Clock, randomness, results, checks and the mutex wrapper: the seams that everything else stands on.
#include <gtest/gtest.h>

#include <bit>
#include <set>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/random.h"
#include "base/result.h"

namespace autoglm::base {
namespace {

TEST(Clock, TheVirtualOneMovesOnlyWhenTold) {
  VirtualClock clock;
  const Time start = clock.now();
  EXPECT_EQ(clock.now(), start);
  clock.advance(std::chrono::seconds(2));
  EXPECT_EQ(clock.now() - start, std::chrono::seconds(2));
  const std::int64_t before = clock.unix_seconds();
  clock.advance(std::chrono::seconds(3));
  EXPECT_EQ(clock.unix_seconds(), before + 3);
}

TEST(Clock, TheMachinesOneNeverGoesBack) {
  const SystemClock clock;
  Time last = clock.now();
  for (int i = 0; i < 1000; ++i) {
    const Time now = clock.now();
    EXPECT_GE(now, last);
    last = now;
  }
  EXPECT_GT(clock.unix_seconds(), 1'700'000'000) << "after November 2023";
}

TEST(Random, IsAPureFunctionOfSeedStreamAndCounter) {
  static_assert(random_bits(1, 2, 3) == random_bits(1, 2, 3));
  std::set<std::uint64_t> seen;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    for (std::uint64_t stream = 0; stream < 20; ++stream) {
      for (std::uint64_t counter = 0; counter < 20; ++counter) seen.insert(random_bits(seed, stream, counter));
    }
  }
  EXPECT_EQ(seen.size(), 8000u);
}

TEST(Random, EachBitIsHalfOnes) {
  int ones[64] = {};
  for (std::uint64_t i = 0; i < 4096; ++i) {
    for (int bit = 0; bit < 64; ++bit) ones[bit] += static_cast<int>(random_bits(7, 1, i) >> bit & 1);
  }
  // Five standard deviations of a binomial with n = 4096 and p = 1/2 are 160.
  for (int bit = 0; bit < 64; ++bit) EXPECT_NEAR(ones[bit], 2048, 160) << bit;
}

TEST(Random, UnitsAreInRangeAndSpread) {
  Random random(5);
  double sum = 0;
  for (int i = 0; i < 10'000; ++i) {
    const double unit = random.unit();
    EXPECT_GE(unit, 0);
    EXPECT_LT(unit, 1);
    sum += unit;
  }
  EXPECT_NEAR(sum / 10'000, 0.5, 0.015);  // five standard deviations of the mean
  for (int i = 0; i < 1000; ++i) EXPECT_LT(random.below(7), 7u);
}

TEST(Random, EntropyDiffers) { EXPECT_NE(entropy_bits(), entropy_bits()); }

Result<int> half(int x) {
  if (x % 2 != 0) return fail(Code::kInvalidArgument, "odd", "x");
  return x / 2;
}

Result<int> quarter(int x) {
  const int once = TRY(half(x));
  return TRY(half(once));
}

Status check_even(int x) {
  TRY(half(x));
  return {};
}

TEST(Result, TryTakesTheValueOrReturnsTheError) {
  EXPECT_EQ(quarter(12).value(), 3);
  const auto failed = quarter(6);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::kInvalidArgument);
  EXPECT_EQ(failed.error().where, "x");
  EXPECT_TRUE(check_even(2));
  EXPECT_FALSE(check_even(3));
}

TEST(Result, ContextComesFirst) {
  const Result<int> failed = fail_in("reading a.gguf", Error{Code::kCorrupt, "too short", "w"});
  EXPECT_EQ(failed.error().message, "reading a.gguf: too short");
  EXPECT_EQ(failed.error().code, Code::kCorrupt);
  EXPECT_EQ(failed.error().where, "w");
}

TEST(Result, TheTenCodesHaveTheirOwnNames) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(Code::kInternal); ++code)
    names.insert(code_name(static_cast<Code>(code)));
  EXPECT_EQ(names.size(), 10u);
  EXPECT_EQ(code_name(Code::kInvalidArgument), "invalid_argument");
  EXPECT_EQ(code_name(Code::kPermissionDenied), "permission_denied");
}

TEST(Check, PassesWithoutLookingAtItsFacts) {
  int looked = 0;
  CHECK(true) << ++looked;
  EXPECT_EQ(looked, 0);
}

TEST(CheckDeathTest, PrintsTheConditionTheFactsAndThePlace) {
  const int blocks = 3;
  EXPECT_DEATH(CHECK(blocks == 4) << "there are " << blocks, "blocks == 4.*there are 3|seams_test");
}

TEST(MutexLock, OneAtATime) {
  Mutex mutex;
  int count = 0;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5000; ++i) {
        MutexLock lock(mutex);
        ++count;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(count, 20'000);
}

}  // namespace
}  // namespace autoglm::base

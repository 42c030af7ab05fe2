// SPDX-License-Identifier: Apache-2.0
// Shares by weight in virtual time: counted costs, no clock.
#include "engine/fair_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <random>
#include <vector>

namespace autoglm::engine {
namespace {

using Member = FairQueue::Member;
using Cost = std::function<double(Member)>;

// What each member got while all of them had something to do, until `total` was spent.
std::vector<double> spend(FairQueue& queue, const std::vector<Member>& members, double total, const Cost& cost) {
  std::map<Member, double> got;
  for (double spent = 0; spent < total;) {
    const Member member = queue.next().value();
    queue.begin(member);
    const double price = cost(member);
    queue.charge(member, price);
    got[member] += price;
    spent += price;
  }
  std::vector<double> shares;
  for (const Member member : members) shares.push_back(got[member] / total);
  return shares;
}

std::vector<Member> awake(FairQueue& queue, const std::vector<double>& weights) {
  std::vector<Member> members;
  for (const double weight : weights) {
    members.push_back(queue.join(weight));
    queue.wake(members.back());
  }
  return members;
}

TEST(FairQueue, GivesNobodyATurnWhoHasNothingToDo) {
  FairQueue queue;
  EXPECT_EQ(queue.next(), std::nullopt);
  const Member one = queue.join(1);
  EXPECT_EQ(queue.next(), std::nullopt);
  queue.wake(one);
  EXPECT_EQ(queue.next(), one);
  queue.rest(one);
  EXPECT_EQ(queue.next(), std::nullopt);
}

TEST(FairQueue, SharesFollowTheWeights) {
  FairQueue queue;
  const auto members = awake(queue, {3, 1});
  const auto shares = spend(queue, members, 1000, [](Member) { return 1.0; });
  EXPECT_NEAR(shares[0], 0.75, 0.01);
  EXPECT_NEAR(shares[1], 0.25, 0.01);
}

// What a step costs is known only afterwards, and a prefill costs a hundred times a decode: the shares are of time all
// the same, within 5 % of the weights.
TEST(FairQueue, SharesAreOfCostAndNotOfTurns) {
  for (unsigned seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> weight(0.5, 8), cost(0.01, 1);
    FairQueue queue;
    std::vector<double> weights(2 + seed % 4);
    std::ranges::generate(weights, [&] { return weight(random); });
    const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    const auto members = awake(queue, weights);
    const auto shares = spend(queue, members, 2000, [&](Member member) {
      return cost(random) * (random() % 10 == 0 ? 4 : 1) * (member == members[0] ? 0.1 : 1);
    });
    for (std::size_t i = 0; i < weights.size(); ++i) EXPECT_NEAR(shares[i] / (weights[i] / sum), 1, 0.05);
  }
}

// Goyal, Vin, Cheng 1996, theorem 1, at every moment and not only in the end: so nobody starves.
TEST(FairQueue, TheGapBetweenTwoIsNeverMoreThanAStepOfEach) {
  FairQueue queue;
  const std::vector<double> weights = {5, 2, 0.5};
  const std::vector<double> largest = {4, 1, 2};
  const auto members = awake(queue, weights);
  std::mt19937 random(7);
  std::map<Member, double> got;
  for (int step = 0; step < 20'000; ++step) {
    const Member member = queue.next().value();
    queue.begin(member);
    const std::size_t i = static_cast<std::size_t>(std::ranges::find(members, member) - members.begin());
    const double cost = std::uniform_real_distribution<double>(0, largest[i])(random);
    queue.charge(member, cost);
    got[member] += cost;
    for (std::size_t a = 0; a < members.size(); ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        const double gap = got[members[a]] / weights[a] - got[members[b]] / weights[b];
        ASSERT_LE(std::abs(gap), largest[a] / weights[a] + largest[b] / weights[b] + 1e-9) << "step " << step;
      }
    }
  }
}

TEST(FairQueue, WhoRestedHasSavedNothingUp) {
  FairQueue queue;
  const auto members = awake(queue, {1, 1});
  queue.rest(members[1]);
  spend(queue, {members[0]}, 1000, [](Member) { return 1.0; });
  queue.wake(members[1]);
  const auto shares = spend(queue, members, 20, [](Member) { return 1.0; });
  EXPECT_NEAR(shares[0], 0.5, 0.05) << "the one that was busy is not made to wait for the other's past";
  EXPECT_NEAR(shares[1], 0.5, 0.05);
}

// Nor does a short rest pay: who had more than its share has had it.
TEST(FairQueue, ARestDoesNotForgive) {
  FairQueue queue;
  const auto members = awake(queue, {1, 1});
  queue.begin(members[0]);
  queue.charge(members[0], 10);
  queue.rest(members[0]);
  queue.wake(members[0]);
  for (int step = 0; step < 10; ++step) {
    ASSERT_EQ(queue.next(), members[1]) << step;
    queue.begin(members[1]);
    queue.charge(members[1], 1);
  }
  queue.begin(members[1]);
  queue.charge(members[1], 1);
  EXPECT_EQ(queue.next(), members[0]);
}

TEST(FairQueue, WhoComesLaterBeginsNow) {
  FairQueue queue;
  auto members = awake(queue, {1});
  spend(queue, members, 1000, [](Member) { return 1.0; });
  members.push_back(queue.join(1));
  queue.wake(members[1]);
  const auto shares = spend(queue, members, 20, [](Member) { return 1.0; });
  EXPECT_NEAR(shares[1], 0.5, 0.05);
}

TEST(FairQueue, WhoLeavesIsGone) {
  FairQueue queue;
  const auto members = awake(queue, {1, 1});
  queue.leave(members[0]);
  EXPECT_EQ(queue.next(), members[1]);
}

}  // namespace
}  // namespace autoglm::engine

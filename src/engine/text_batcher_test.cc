// SPDX-License-Identifier: Apache-2.0
// The dynamic batcher on a virtual clock: when a batch begins, what is in it, and that nobody waits for ever.
#include "engine/text_batcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace autoglm::engine {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;

class TextBatcherTest : public testing::Test {
 protected:
  static constexpr base::Duration kTimeout = milliseconds(50);

  void add(generation::Ticket ticket, std::vector<std::size_t> lengths, TextBatcher* batcher = nullptr) {
    auto job = std::make_unique<TextJob>();
    job->ticket = ticket;
    for (const std::size_t length : lengths) job->request.texts.emplace_back(length, 7);
    job->arrived = clock_.now();
    (batcher == nullptr ? batcher_ : *batcher).add(std::move(job));
  }

  // The tickets of the texts of the batch that begins now.
  std::vector<generation::Ticket> planned() {
    std::vector<generation::Ticket> tickets;
    for (const TextBatcher::Place& place : batcher_.plan(clock_.now())) tickets.push_back(place.job->ticket);
    return tickets;
  }
  std::vector<generation::Ticket> committed() {
    std::vector<generation::Ticket> tickets;
    for (const auto& job : batcher_.commit()) tickets.push_back(job->ticket);
    return tickets;
  }
  // One batch of these requests, so that as many are expected next.
  void expect_company(std::size_t requests) {
    for (std::size_t i = 0; i < requests; ++i) add(1000 + i, {1});
    clock_.advance(kTimeout);
    ASSERT_EQ(planned().size(), requests);
    ASSERT_EQ(committed().size(), requests);
  }

  base::VirtualClock clock_;
  TextBatcher batcher_{{.max_batch_size = 4, .max_batch_tokens = 20, .batch_timeout = kTimeout}};
};

// Those behind the bound wait, however much room a batch has, and there is no waiting for more company than may work.
TEST_F(TextBatcherTest, OnlySoManyRequestsAreAtWorkAtOnce) {
  TextBatcher batcher({.max_batch_size = 4, .max_batch_tokens = 20, .max_requests = 2, .batch_timeout = kTimeout});
  const auto next_batch = [&] {
    std::vector<generation::Ticket> tickets;
    for (const TextBatcher::Place& place : batcher.plan(clock_.now())) tickets.push_back(place.job->ticket);
    return tickets;
  };
  add(1, {1}, &batcher);
  EXPECT_THAT(next_batch(), ElementsAre());
  EXPECT_TRUE(batcher.next_wake());
  add(2, {1, 1}, &batcher);
  add(3, {1}, &batcher);
  EXPECT_FALSE(batcher.next_wake());
  EXPECT_THAT(next_batch(), ElementsAre(1, 2, 2));
  EXPECT_EQ(batcher.commit().size(), 2u);
  clock_.advance(kTimeout);
  EXPECT_THAT(next_batch(), ElementsAre(3));
  EXPECT_EQ(batcher.commit().size(), 1u);
}

TEST_F(TextBatcherTest, TheFirstRequestWaitsForCompanyAndNoLonger) {
  EXPECT_TRUE(batcher_.is_idle());
  EXPECT_FALSE(batcher_.next_wake());
  add(1, {3});
  EXPECT_THAT(planned(), ElementsAre());
  EXPECT_EQ(batcher_.next_wake(), clock_.now() + kTimeout);
  clock_.advance(kTimeout - milliseconds(1));
  EXPECT_THAT(planned(), ElementsAre());
  clock_.advance(milliseconds(1));
  EXPECT_THAT(planned(), ElementsAre(1));
  EXPECT_THAT(committed(), ElementsAre(1));
  EXPECT_TRUE(batcher_.is_idle());
}

TEST_F(TextBatcherTest, AFullBatchBeginsAtOnce) {
  for (generation::Ticket ticket = 1; ticket <= 3; ++ticket) add(ticket, {1});
  EXPECT_THAT(planned(), ElementsAre());
  add(4, {1});
  EXPECT_FALSE(batcher_.next_wake());
  EXPECT_THAT(planned(), ElementsAre(1, 2, 3, 4));
}

TEST_F(TextBatcherTest, ABatchIsFullOfTokensToo) {
  add(1, {12});
  add(2, {7});
  EXPECT_THAT(planned(), ElementsAre());
  add(3, {2});  // 21 tokens: one too many for a batch
  EXPECT_THAT(planned(), ElementsAre(1, 2));
  EXPECT_THAT(committed(), ElementsAre(1, 2));
  clock_.advance(kTimeout);
  EXPECT_THAT(planned(), ElementsAre(3));
}

// Who asks alone, one text after the other, never waits again; nor do several, once they are all there.
TEST_F(TextBatcherTest, AsManyAsLastTimeBeginAtOnce) {
  expect_company(1);
  add(1, {3});
  EXPECT_FALSE(batcher_.next_wake());
  EXPECT_THAT(planned(), ElementsAre(1));
  committed();
  expect_company(3);
  add(2, {3});
  add(3, {3});
  EXPECT_THAT(planned(), ElementsAre());
  add(4, {3});
  EXPECT_THAT(planned(), ElementsAre(2, 3, 4));
  committed();
}

TEST_F(TextBatcherTest, WhoStaysAwayIsMissedOnce) {
  expect_company(3);
  add(1, {1});
  add(2, {1});
  EXPECT_THAT(planned(), ElementsAre());
  clock_.advance(kTimeout);
  EXPECT_THAT(planned(), ElementsAre(1, 2));
  committed();
  add(3, {1});
  add(4, {1});
  EXPECT_THAT(planned(), ElementsAre(3, 4));
}

TEST_F(TextBatcherTest, WithoutATimeoutNobodyWaits) {
  TextBatcher eager({.max_batch_size = 4, .max_batch_tokens = 20, .batch_timeout = {}});
  add(1, {1}, &eager);
  EXPECT_EQ(eager.plan(clock_.now()).size(), 1u);
}

// A request of many texts takes its turn with the others, text by text.
TEST_F(TextBatcherTest, ManyTextsDoNotHoldUpOne) {
  add(1, std::vector<std::size_t>(10, 1));
  add(2, {1});
  EXPECT_THAT(planned(), ElementsAre(1, 2, 1, 1));
  EXPECT_THAT(committed(), ElementsAre(2));
  add(3, {1});
  EXPECT_THAT(planned(), ElementsAre(1, 3, 1, 1));
  EXPECT_THAT(committed(), ElementsAre(3));
  EXPECT_THAT(planned(), ElementsAre(1, 1, 1, 1));
  EXPECT_THAT(committed(), ElementsAre(1));
  EXPECT_TRUE(batcher_.is_idle());
}

TEST_F(TextBatcherTest, CancelledRequestsLeaveNothingBehind) {
  auto job = std::make_unique<TextJob>();
  job->ticket = 1;
  job->request.texts.assign(6, {7, 7, 7});
  TextJob& cancelled = *job;
  batcher_.add(std::move(job));
  add(2, {3});
  EXPECT_THAT(planned(), ElementsAre(1, 2, 1, 1));
  committed();
  cancelled.is_cancel_requested = true;
  EXPECT_EQ(batcher_.take_cancelled().size(), 1u);
  EXPECT_TRUE(batcher_.is_idle());
  EXPECT_FALSE(batcher_.next_wake());
  // What it had waiting is forgotten: a single text does not make a batch full.
  add(3, {3});
  EXPECT_THAT(planned(), ElementsAre());
}

}  // namespace
}  // namespace autoglm::engine

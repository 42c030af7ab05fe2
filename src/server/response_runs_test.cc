// SPDX-License-Identifier: Apache-2.0
#include "server/response_runs.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <latch>
#include <mutex>

namespace autoglm::server {
namespace {

// A response that is made until it is stopped.
ResponseRuns::Make until_stopped(std::latch& begun) {
  return [&begun](std::stop_token stop) -> std::string {
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    begun.count_down();
    never.wait(lock, stop, [] { return false; });
    return "whole";
  };
}

TEST(ResponseRuns, AreBounded) {
  ResponseRuns runs;
  std::latch begun(ResponseRuns::kMaxRuns);
  for (std::size_t i = 0; i < ResponseRuns::kMaxRuns; ++i) {
    ASSERT_TRUE(runs.start("resp_" + std::to_string(i), "tenant", "so far", {}, until_stopped(begun)));
  }
  begun.wait();
  const auto one = [](std::stop_token) -> std::string { return "one more"; };
  const Status refused = runs.start("resp_more", "tenant", "so far", {}, one);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kExhausted);
  EXPECT_EQ(runs.find("tenant", "resp_more"), "");
  EXPECT_EQ(runs.find("tenant", "resp_0"), "so far");
  EXPECT_EQ(runs.find("another", "resp_0"), "");
  runs.cancel_all();
  EXPECT_TRUE(runs.wait_until_none(base::Time::max()));
  EXPECT_TRUE(runs.start("resp_more", "tenant", "so far", {}, one));
}

TEST(ResponseRuns, ACancelHearsTheWhole) {
  ResponseRuns runs;
  std::latch begun(1), heard(1);
  ASSERT_TRUE(runs.start("resp_1", "tenant", "so far", {}, until_stopped(begun)));
  EXPECT_FALSE(runs.cancel("another", "resp_1", [](const std::string&) { ADD_FAILURE(); }));
  ASSERT_TRUE(runs.cancel("tenant", "resp_1", [&](const std::string& response) {
    EXPECT_EQ(response, "whole");
    heard.count_down();
  }));
  heard.wait();
  EXPECT_TRUE(runs.wait_until_none(base::Time::max()));
  EXPECT_FALSE(runs.cancel("tenant", "resp_1", [](const std::string&) { ADD_FAILURE(); }));
}

}  // namespace
}  // namespace autoglm::server

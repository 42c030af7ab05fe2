// SPDX-License-Identifier: Apache-2.0
#include "agent/action_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "agent/approval.h"
#include "agent/fake_tool.h"

namespace autoglm::agent {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;

class Notes final : public ActionObserver {
 public:
  void on_plan(std::span<const Action> actions, const std::vector<std::vector<std::size_t>>& waits_for) override {
    EXPECT_EQ(actions.size(), waits_for.size());
    check_thread();
  }
  Status on_intent(const Action& action, const json::Object& arguments) override {
    check_thread();
    lines.push_back("intent " + std::to_string(action.step) + " " + json::format(arguments));
    if (refuses) return fail(Code::kExhausted, "The journal is full.");
    return {};
  }
  void on_state(const Action&) override { check_thread(); }
  void on_result(const Action& action) override {
    check_thread();
    lines.push_back("result " + std::to_string(action.step));
  }
  void check_thread() const { EXPECT_EQ(std::this_thread::get_id(), thread_); }

  std::vector<std::string> lines;
  bool refuses = false;

 private:
  std::thread::id thread_ = std::this_thread::get_id();
};

// Blocks until it is asked to stop.
void wait_for_stop(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any condition;
  std::unique_lock lock(mutex);
  condition.wait(lock, stop, [] { return false; });
}

class ActionRunnerTest : public testing::Test {
 protected:
  void add(ToolDescription description, FakeTool::Run run) {
    ASSERT_TRUE(tools_.add(std::make_unique<FakeTool>(std::move(description), std::move(run))));
  }
  std::vector<Action> run(std::vector<ActionCall> calls, std::stop_token stop = {}) {
    runner_ = make_action_runner(tools_, limits_, approver_, notes_, clock_);
    return runner_->run_turn(std::move(calls), {}, stop);
  }

  ToolRegistry tools_;
  ActionLimits limits_;
  Approver approver_ = make_approver(Leave::kNone, nullptr);
  Notes notes_;
  base::SystemClock clock_;
  std::unique_ptr<ActionRunner> runner_;
};

TEST_F(ActionRunnerTest, ReadsReallyRunAtOnce) {
  std::barrier both(2);  // neither gets past it alone
  add(describe("meet"), [&both](const json::Object&, std::stop_token) -> Result<ToolOutput> {
    both.arrive_and_wait();
    return ToolOutput{"met", false};
  });
  const auto actions = run({call_of("meet"), call_of("meet")});
  ASSERT_EQ(actions.size(), 2u);
  EXPECT_EQ(actions[0].result.text, "met");
  EXPECT_EQ(actions[1].result.state, ActionState::kDone);
}

TEST_F(ActionRunnerTest, IntentsComeBeforeEffectsAndResultsAfter) {
  add(describe("put", ToolClass::kWrite), [](const json::Object& arguments, std::stop_token) -> Result<ToolOutput> {
    return ToolOutput{R"({"wrote":)" + json::format(arguments) + "}", false};
  });
  run({call_of("put", R"({"n":1})"), call_of("put", R"({"n":"$step_1.wrote.n"})"), call_of("pat")});
  EXPECT_THAT(notes_.lines,
              ElementsAre("result 3", R"(intent 1 {"n":1})", "result 1", R"(intent 2 {"n":1})", "result 2"));
}

TEST_F(ActionRunnerTest, WithoutAnIntentNothingRuns) {
  std::atomic<int> runs = 0;
  add(describe("put", ToolClass::kWrite), [&runs](const json::Object&, std::stop_token) -> Result<ToolOutput> {
    ++runs;
    return ToolOutput{};
  });
  notes_.refuses = true;
  const auto actions = run({call_of("put")});
  EXPECT_EQ(actions[0].result.state, ActionState::kFailed);
  EXPECT_THAT(actions[0].result.text, HasSubstr("The journal is full."));
  EXPECT_EQ(runs, 0);
}

TEST_F(ActionRunnerTest, AToolThatThrowsIsAFailedAction) {
  add(describe("bad"),
      [](const json::Object&, std::stop_token) -> Result<ToolOutput> { throw std::runtime_error("out of luck"); });
  add(describe("worse"), [](const json::Object&, std::stop_token) -> Result<ToolOutput> { throw 7; });
  const auto actions = run({call_of("bad"), call_of("worse")});
  EXPECT_EQ(actions[0].result.state, ActionState::kFailed);
  EXPECT_THAT(actions[0].result.text, HasSubstr("out of luck"));
  EXPECT_EQ(actions[1].result.state, ActionState::kFailed);
}

TEST_F(ActionRunnerTest, ATimeoutStopsTheTool) {
  ToolDescription slow = describe("slow");
  slow.timeout = milliseconds(20);
  add(slow, [](const json::Object&, std::stop_token stop) -> Result<ToolOutput> {
    wait_for_stop(stop);
    return fail(Code::kCancelled, "stopped");
  });
  const auto actions = run({call_of("slow")});
  EXPECT_EQ(actions[0].result.state, ActionState::kTimedOut);
}

TEST_F(ActionRunnerTest, CancelInTheMiddle) {
  std::stop_source stop;
  add(describe("cancelled"), [&stop](const json::Object&, std::stop_token token) -> Result<ToolOutput> {
    stop.request_stop();
    wait_for_stop(token);
    return fail(Code::kCancelled, "stopped");
  });
  add(describe("put", ToolClass::kWrite), [](const json::Object&, std::stop_token) -> Result<ToolOutput> {
    ADD_FAILURE() << "it ran after the cancel";
    return ToolOutput{};
  });
  const auto actions = run({call_of("cancelled"), call_of("put")}, stop.get_token());
  EXPECT_EQ(actions[0].result.state, ActionState::kCancelled);
  EXPECT_EQ(actions[1].result.state, ActionState::kCancelled);
  // And a turn that begins cancelled runs nothing.
  const auto none = run({call_of("put")}, stop.get_token());
  EXPECT_EQ(none[0].result.state, ActionState::kCancelled);
}

TEST_F(ActionRunnerTest, AToolThatDoesNotStopIsGivenUp) {
  ToolDescription stubborn = describe("stubborn", ToolClass::kWrite);
  stubborn.timeout = milliseconds(10);
  limits_.stop_grace = milliseconds(10);
  std::mutex mutex;
  std::condition_variable condition;
  bool may_end = false;
  add(stubborn, [&](const json::Object&, std::stop_token) -> Result<ToolOutput> {
    std::unique_lock lock(mutex);
    condition.wait(lock, [&] { return may_end; });
    return ToolOutput{"late", false};
  });
  add(describe("put", ToolClass::kWrite),
      [](const json::Object&, std::stop_token) -> Result<ToolOutput> { return ToolOutput{"put", false}; });
  const auto actions = run({call_of("stubborn"), call_of("put")});
  EXPECT_EQ(actions[0].result.state, ActionState::kTimedOut);
  EXPECT_EQ(actions[1].result.state, ActionState::kFailed);
  // The next turn still may not write beside it.
  const auto blocked = runner_->run_turn({call_of("put")}, actions, {});
  EXPECT_EQ(blocked[0].result.state, ActionState::kFailed);
  EXPECT_EQ(blocked[0].step, 3u);
  {
    const std::lock_guard lock(mutex);
    may_end = true;
  }
  condition.notify_all();
  // As soon as its end was heard of, writes run again.
  std::vector<Action> free;
  for (int i = 0; i < 10'000 && (free.empty() || free[0].result.is_error()); ++i) {
    free = runner_->run_turn({call_of("put")}, blocked, {});
    std::this_thread::yield();
  }
  EXPECT_EQ(free[0].result.text, "put");
}

TEST_F(ActionRunnerTest, ApprovalByAPersonByLeaveOrByNobody) {
  const FakeTool::Run run_it = [](const json::Object&, std::stop_token) -> Result<ToolOutput> {
    return ToolOutput{"ran", false};
  };
  add(describe("put", ToolClass::kWrite, Approval::kAsk), run_it);
  add(describe("send", ToolClass::kExternal, Approval::kAsk), run_it);
  add(describe("launch", ToolClass::kExternal, Approval::kAlways), run_it);
  const auto states = [this] {
    std::vector<std::string> all;
    for (const Action& action : run({call_of("put"), call_of("send"), call_of("launch")}))
      all.emplace_back(state_name(action.result.state));
    return all;
  };
  EXPECT_THAT(states(), ElementsAre("denied", "denied", "denied"));
  EXPECT_THAT(runner_->run_turn({call_of("put")}, {}, {})[0].result.text, HasSubstr("--approve writes"));
  approver_ = make_approver(Leave::kWrites, nullptr);
  EXPECT_THAT(states(), ElementsAre("done", "denied", "denied"));
  approver_ = make_approver(Leave::kAll, nullptr);
  EXPECT_THAT(states(), ElementsAre("done", "done", "denied"));
  approver_ = make_approver(
      Leave::kWrites,
      [](const Action& action, const json::Object&, const ToolDescription& tool, std::stop_token) -> Decision {
        EXPECT_EQ(action.call.tool, tool.name);
        return {tool.name == "launch" ? Verdict::kAllow : Verdict::kDeny, ""};
      });
  EXPECT_THAT(states(), ElementsAre("done", "denied", "done"));
  approver_ = [](const Action&, const json::Object&, const ToolDescription&, std::stop_token) -> Decision {
    throw std::runtime_error("no terminal");
  };
  EXPECT_THAT(states(), ElementsAre("denied", "denied", "denied"));
}

TEST_F(ActionRunnerTest, AQuestionEndsWithTheRun) {
  add(describe("send", ToolClass::kExternal, Approval::kAsk),
      [](const json::Object&, std::stop_token) { return Result<ToolOutput>(ToolOutput{}); });
  std::stop_source stop;
  approver_ = [&stop](const Action&, const json::Object&, const ToolDescription&, std::stop_token token) -> Decision {
    stop.request_stop();
    wait_for_stop(token);
    return {Verdict::kAllow, ""};
  };
  const auto actions = run({call_of("send")}, stop.get_token());
  EXPECT_EQ(actions[0].result.state, ActionState::kCancelled);
}

TEST_F(ActionRunnerTest, ManyTurnsOfManyActions) {
  std::atomic<int> at_once = 0, most = 0;
  ToolDescription busy = describe("busy");
  busy.max_concurrency = 64;
  add(busy, [&](const json::Object&, std::stop_token) -> Result<ToolOutput> {
    const int now = ++at_once;
    for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
    }
    std::this_thread::yield();
    --at_once;
    return ToolOutput{"ok", false};
  });
  runner_ = make_action_runner(tools_, limits_, approver_, notes_, clock_);
  for (int turn = 0; turn < 20; ++turn) {
    const auto actions = runner_->run_turn(std::vector<ActionCall>(32, call_of("busy")), {}, {});
    for (const Action& action : actions) EXPECT_EQ(action.result.text, "ok");
  }
  EXPECT_LE(most, static_cast<int>(limits_.max_running));
}

}  // namespace
}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
// How a run ends besides by an answer: limits, a cancel, an error; and how one that was killed is taken up again.
#include <gmock/gmock.h>

#include <condition_variable>
#include <latch>
#include <mutex>

#include "agent/run_fixture.h"

namespace autoglm::agent {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

class AgentLoopEndTest : public RunFixture {
 protected:
  // A run that ended between a turn's two calls, the first with this result, taken up again.
  void take_up_between_two_reads(ActionResult result) {
    begin();
    ActionCall first = call_of("read", R"({"path": "a"})"), second = call_of("read", R"({"path": "b"})");
    first.id = "call_1";
    second.id = "call_2";
    ASSERT_TRUE(context_->add_turn("", {first, second}));
    const Action ended{1, first, std::move(result)};
    ASSERT_TRUE(context_->record_intent(ended, first.arguments));
    ASSERT_TRUE(context_->record_result(ended));
    const std::int64_t run_id = context_->run();
    open();
    ASSERT_TRUE(context_->resume(run_id));
  }

  void SetUp() override { add_tool(describe("read"), "the text"); }
  static std::string read(int i) { return call_text("read", R"({"path": ")" + std::to_string(i) + "\"}"); }
  void expect_limit(const RunReport& report, std::string_view limit) {
    EXPECT_EQ(report.state, RunState::kLimit);
    EXPECT_EQ(report.answer, "stopped at the limit of " + std::string(limit));
    EXPECT_EQ(row().state, "limit");
  }
};

TEST_F(AgentLoopEndTest, TheLimitOfTurns) {
  options_.limits.max_turns = 3;
  for (int i = 1; i <= 3; ++i) say(read(i));
  const RunReport report = run();
  expect_limit(report, "3 turns");
  EXPECT_EQ(report.turns, 3u);
  EXPECT_EQ(report.actions, 3u);  // what the last turn asked for was done
}

TEST_F(AgentLoopEndTest, TheLimitOfActions) {
  options_.limits.max_actions = 3;
  say(read(1) + "\n" + read(2));
  say(read(3) + "\n" + read(4));
  const RunReport report = run();
  expect_limit(report, "3 actions");
  EXPECT_EQ(report.turns, 2u);
  EXPECT_EQ(runs_, 3u);
  EXPECT_THAT(context_->actions()[3].result.text, HasSubstr("Nothing was run: 1 calls may be carried out"));
}

TEST_F(AgentLoopEndTest, TheLimitOfTokens) {
  options_.limits.max_completion_tokens = 100;
  options_.limits.max_turn_tokens = 90;
  say(read(1));
  say(FakeReply{.text = "<think>" + std::string(93 - read(1).size(), 'x'),
                .reason = generation::FinishReason::kLength});
  const RunReport report = run();
  expect_limit(report, "100 tokens");
  EXPECT_EQ(report.usage.completion_tokens, 100u);
  // No turn may write more than is left.
  EXPECT_EQ(generator_.requests[0].max_tokens, 90u);
  EXPECT_EQ(generator_.requests[1].max_tokens, 100 - read(1).size());
}

TEST_F(AgentLoopEndTest, TheLimitOfSecondsBetweenTurns) {
  options_.limits.max_seconds = std::chrono::seconds(60);
  const base::Time began = clock_.now();
  say(FakeReply{.text = read(1), .meanwhile = [this] { clock_.advance(std::chrono::seconds(59)); }});
  say(FakeReply{.text = read(2), .meanwhile = [this] { clock_.advance(std::chrono::seconds(1)); }});
  const RunReport report = run();
  expect_limit(report, "60 seconds");
  EXPECT_EQ(report.seconds, 60);
  EXPECT_EQ(report.turns, 2u);
  EXPECT_EQ(generator_.requests[1].deadline, began + std::chrono::seconds(60));
}

TEST_F(AgentLoopEndTest, TheLimitOfSecondsWithinATurn) {
  const auto deadline = [this] {
    say(FakeReply{.reason = generation::FinishReason::kError,
                  .error = Error{Code::kDeadline, "the request's time ran out", {}}});
  };
  deadline();
  expect_limit(run(), "600 seconds");
  begin();
  say(kReadA);
  deadline();
  expect_limit(run(), "600 seconds");
}

TEST_F(AgentLoopEndTest, TheLimitOfSecondsStopsATool) {
  options_.limits.max_seconds = std::chrono::seconds(1);
  add_tool(describe("hang"), [this](const json::Object&, std::stop_token stop) -> Result<ToolOutput> {
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    never.wait(lock, stop, [] { return false; });
    clock_.advance(std::chrono::seconds(1));
    return fail(Code::kCancelled, "stopped");
  });
  say(call_text("hang"));
  expect_limit(run(), "1 seconds");
  EXPECT_EQ(context_->actions()[0].result.text, "hang was stopped, because the run's time is over.");
}

// --- turns that bring nothing --------------------------------------------------------------------------------------

constexpr const char* kTold = "<|user|>Your last 3 turns brought nothing new.";

TEST_F(AgentLoopEndTest, FailuresAreToldAndThenEndTheRun) {
  add_tool(describe("find"),
           [](const json::Object&, std::stop_token) -> Result<ToolOutput> { return ToolOutput{"no such file", true}; });
  const auto find = [](int i) { return call_text("find", R"({"path": ")" + std::to_string(i) + "\"}"); };
  for (int i = 1; i <= 6; ++i) say(find(i));
  const RunReport report = run();
  expect_limit(report, "6 turns that brought nothing new");
  EXPECT_EQ(report.turns, 6u);
  EXPECT_THAT(prompt(2), Not(HasSubstr(kTold)));
  EXPECT_THAT(prompt(3), HasSubstr(kTold));
}

TEST_F(AgentLoopEndTest, AFruitfulTurnBeginsTheCountAnew) {
  int tries = 0;
  add_tool(describe("find"), [&tries](const json::Object&, std::stop_token) -> Result<ToolOutput> {
    return ToolOutput{"try " + std::to_string(++tries), tries % 6 != 0};
  });
  for (int i = 1; i <= 11; ++i) say(call_text("find", R"({"path": ")" + std::to_string(i) + "\"}"));
  say(answer_text("I give up."));
  options_.aids.failures = false;
  const RunReport report = run();
  EXPECT_EQ(report.state, RunState::kDone);
  EXPECT_EQ(report.turns, 12u);
}

TEST_F(AgentLoopEndTest, ReadsWithTheSameResultBringNothing) {
  add_tool(describe("list"), "a b c");
  add_tool(describe("read_on"), "the text");
  say(kReadA);
  say(call_text("list"));
  const std::string again = kReadA + "\n" + call_text("gone");
  for (int i = 0; i < 3; ++i) say(FakeReply{.text = again, .breaks_grammar = true});
  say(answer_text("It says: the text."));
  options_.aids = *parse_aids("none");
  const RunReport report = run();
  EXPECT_EQ(report.state, RunState::kDone);
  EXPECT_THAT(last_prompt(), HasSubstr(kTold));
}

TEST_F(AgentLoopEndTest, WhatIsChangedAgainIsNotNothing) {
  add_tool(describe("scroll", ToolClass::kWrite), "done");
  for (int i = 1; i <= 7; ++i) say(call_text("scroll"));
  say(answer_text("At the end."));
  EXPECT_EQ(run().state, RunState::kDone);
  EXPECT_THAT(last_prompt(), Not(HasSubstr(kTold)));
}

TEST_F(AgentLoopEndTest, TurnsThatAreCutBringNothing) {
  for (int i = 0; i < 6; ++i) say(FakeReply{.text = "<think>so", .reason = generation::FinishReason::kLength});
  expect_limit(run(), "6 turns that brought nothing new");
}

// --- a cancel ------------------------------------------------------------------------------------------------------

TEST_F(AgentLoopEndTest, ACancelBeforeTheBeginningAsksNobody) {
  std::stop_source stop;
  stop.request_stop();
  const RunReport report = run(stop.get_token());
  EXPECT_EQ(report.state, RunState::kCancelled);
  EXPECT_EQ(report.turns, 0u);
  EXPECT_EQ(asked(), 0u);
  EXPECT_EQ(row().state, "cancelled");
}

TEST_F(AgentLoopEndTest, ACancelWhileTheModelWrites) {
  for (const bool is_first_turn : {true, false}) {
    begin();
    std::stop_source stop;
    if (!is_first_turn) say(kReadA);
    say(FakeReply{.is_endless = true, .meanwhile = [&] { stop.request_stop(); }});
    const RunReport report = run(stop.get_token());
    EXPECT_EQ(report.state, RunState::kCancelled);
    EXPECT_EQ(report.turns, is_first_turn ? 0u : 1u);
    EXPECT_EQ(row().state, "cancelled");
  }
}

TEST_F(AgentLoopEndTest, ACancelStopsTheToolThatRuns) {
  std::stop_source stop;
  add_tool(describe("wait", ToolClass::kWrite), [&](const json::Object&, std::stop_token token) -> Result<ToolOutput> {
    std::latch stopped(1);
    const std::stop_callback wake(token, [&] { stopped.count_down(); });
    stop.request_stop();
    stopped.wait();
    return fail(Code::kCancelled, "stopped");
  });
  say(call_text("wait") + "\n" + kReadA);
  const RunReport report = run(stop.get_token());
  EXPECT_EQ(report.state, RunState::kCancelled);
  EXPECT_EQ(report.turns, 1u);
  EXPECT_EQ(report.actions, 2u);
  EXPECT_EQ(runs_, 0u);
  EXPECT_EQ(row().state, "cancelled");
  const auto steps = *store_->steps(context_->run());
  ASSERT_THAT(steps, SizeIs(2));
  EXPECT_EQ(steps[0].state, "cancelled");
  EXPECT_EQ(steps[1].state, "cancelled");
}

TEST_F(AgentLoopEndTest, ACancelledRunCanGoOn) {
  std::stop_source stop;
  say(kReadA);
  say(FakeReply{.is_endless = true, .meanwhile = [&] { stop.request_stop(); }});
  EXPECT_EQ(run(stop.get_token()).state, RunState::kCancelled);
  const std::int64_t run_id = context_->run();
  open();
  ASSERT_TRUE(context_->resume(run_id));
  say(answer_text("It says: the text."));
  EXPECT_EQ(run().state, RunState::kDone);
  EXPECT_EQ(prompt(2), prompt(1));
  EXPECT_EQ(row().state, "done");
}

// --- taking up -----------------------------------------------------------------------------------------------------

TEST_F(AgentLoopEndTest, AnAnswerThatWasGivenOnlyNeedsItsEnd) {
  begin();
  ASSERT_TRUE(context_->add_turn("All done.", {}));
  const std::int64_t run_id = context_->run();
  open();
  ASSERT_TRUE(context_->resume(run_id));
  const RunReport report = run();
  EXPECT_EQ(report.state, RunState::kDone);
  EXPECT_EQ(report.answer, "All done.");
  EXPECT_EQ(asked(), 0u);
  EXPECT_EQ(row().state, "done");
}

// A run of which a process was killed at this point: after its call failed, and after it answered all the same.
TEST_F(AgentLoopEndTest, AFailureIsNotForgottenWhenARunIsTakenUp) {
  for (const bool has_answered : {false, true}) {
    begin();
    ActionCall call = call_of("read", R"({"path": "a"})");
    call.id = "call_1";
    ASSERT_TRUE(context_->add_turn("", {call}));
    const std::size_t step = context_->actions().size() + 1;
    const Action failed{step, call, {ActionState::kFailed, "no such file", 0}};
    ASSERT_TRUE(context_->record_intent(failed, call.arguments));
    ASSERT_TRUE(context_->add_results({failed}));
    if (has_answered) ASSERT_TRUE(context_->add_turn("All done.", {}));
    const std::int64_t run_id = context_->run();
    open();
    ASSERT_TRUE(context_->resume(run_id));
    if (!has_answered) say(answer_text("All done."));
    say(answer_text("There is no such file."));
    const RunReport report = run();
    EXPECT_EQ(report.answer, "There is no such file.");
    EXPECT_THAT(last_prompt(), HasSubstr("<|user|>The last "));
  }
}

TEST_F(AgentLoopEndTest, AFailureBesideACallThatWasNotBegunIsNotForgotten) {
  take_up_between_two_reads({ActionState::kFailed, "no such file", 0});
  say(answer_text("Both are read."));
  say(answer_text("There is no a."));
  EXPECT_EQ(run().answer, "There is no a.");
  EXPECT_EQ(runs_, 1u);
}

TEST_F(AgentLoopEndTest, CallsThatWereNotBegunAreRunFirst) {
  take_up_between_two_reads({ActionState::kDone, "what was read before", 0});
  say(answer_text("Both are read."));
  const RunReport report = run();
  EXPECT_EQ(report.state, RunState::kDone);
  EXPECT_EQ(report.actions, 1u);
  EXPECT_EQ(runs_, 1u);  // the first is not repeated
  EXPECT_THAT(prompt(0), EndsWith("<|tool|>what was read before<|end|>\n<|tool|>the text<|end|>\n"));
}

TEST_F(AgentLoopEndTest, ACancelWhileUnbegunCallsWaitRunsNothing) {
  begin();
  ASSERT_TRUE(context_->add_turn("", {call_of("read")}));
  std::stop_source stop;
  stop.request_stop();
  const RunReport report = run(stop.get_token());
  EXPECT_EQ(report.state, RunState::kCancelled);
  EXPECT_EQ(runs_, 0u);
  EXPECT_EQ(asked(), 0u);
}

// --- errors --------------------------------------------------------------------------------------------------------

TEST_F(AgentLoopEndTest, AnErrorOfTheFirstTurnIsReturned) {
  generator_.submit_error = Error{Code::kUnavailable, "draining", {}};
  const auto report = try_run();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Code::kUnavailable);
  EXPECT_EQ(row().state, "failed");
}

TEST_F(AgentLoopEndTest, AnErrorWhileTheFirstTurnIsWrittenIsReturned) {
  say(FakeReply{.reason = generation::FinishReason::kError,
                .error = Error{Code::kInternal, "the weights are gone", {}}});
  const auto report = try_run();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Code::kInternal);
  EXPECT_EQ(row().answer, "the weights are gone");
}

TEST_F(AgentLoopEndTest, AnErrorOfALaterTurnIsAStateOfTheRun) {
  say(kReadA);
  say(FakeReply{.reason = generation::FinishReason::kError,
                .error = Error{Code::kInternal, "the weights are gone", {}}});
  const RunReport report = run();
  EXPECT_EQ(report.state, RunState::kFailed);
  EXPECT_EQ(report.answer, "the weights are gone");
  EXPECT_EQ(report.turns, 1u);
  EXPECT_EQ(row().state, "failed");
}

TEST_F(AgentLoopEndTest, ASchemaThatCannotBeHonouredIsToldBeforeAnythingIsAsked) {
  ToolDescription odd = describe("odd");
  odd.parameters =
      parse_json(R"--({"type":"object","properties":{"a":{"type":"string","pattern":"(?=x)"}}})--").as_object();
  add_tool(odd, "never");
  const auto report = try_run();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Code::kInvalidArgument);
  EXPECT_EQ(asked(), 0u);
  EXPECT_EQ(row().state, "failed");
}

TEST_F(AgentLoopEndTest, StatesHaveNames) {
  EXPECT_EQ(run_state_name(RunState::kDone), "done");
  EXPECT_EQ(run_state_name(RunState::kFailed), "failed");
  EXPECT_EQ(run_state_name(RunState::kLimit), "limit");
  EXPECT_EQ(run_state_name(RunState::kCancelled), "cancelled");
}

}  // namespace
}  // namespace autoglm::agent

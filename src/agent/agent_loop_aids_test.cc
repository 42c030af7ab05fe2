// SPDX-License-Identifier: Apache-2.0
// The aids of a run, through its loop: turns that are asked anew, tools that are withheld, answers that are held back.
// The rules by themselves: turn_rules_test.cc.
#include <gmock/gmock.h>

#include "agent/agent_loop.h"
#include "agent/run_fixture.h"

namespace autoglm::agent {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

using AgentLoopAidsTest = RunFixture;

// --- repetitions ---------------------------------------------------------------------------------------------------

TEST_F(AgentLoopAidsTest, ARepeatedReadIsAskedAnewWithoutTheTool) {
  add_tool(describe("read"), "the text");
  add_tool(describe("list"), "a b c");
  say(kReadA);
  say("<think>Once more.</think>\n" + kReadA);
  say("no");
  say(answer_text("It says: the text."));
  const RunReport report = run();
  EXPECT_EQ(report.state, RunState::kDone);
  EXPECT_EQ(report.asked_anew, 1u);
  EXPECT_EQ(report.turns, 2u);
  EXPECT_EQ(report.actions, 1u);
  EXPECT_EQ(runs_, 1u);
  EXPECT_THAT(prompt(2), HasSubstr("<|user|>Look at the results so far."));
  EXPECT_EQ(prompt(3), prompt(1));  // nothing of the first try
  EXPECT_TRUE(may_say(1, kReadA));
  EXPECT_FALSE(may_say(3, kReadA));
  EXPECT_TRUE(may_say(3, call_text("list")));
  EXPECT_TRUE(may_say(3, answer_text("x")));
  // Both tries cost tokens, of one prompt.
  ASSERT_THAT(heard_.turns, SizeIs(2));
  EXPECT_EQ(heard_.turns[1].asked_anew, 1u);
  EXPECT_EQ(heard_.turns[1].usage.prompt_tokens, prompt(1).size());
  EXPECT_GT(heard_.turns[1].usage.completion_tokens, kReadA.size() + answer_text("It says: the text.").size());
  EXPECT_EQ(report.usage.prompt_tokens, prompt(0).size() + 2 * prompt(1).size() + prompt(2).size());
  for (const store::MessageRow& message : *store_->messages("s"))
    EXPECT_THAT(message.json, Not(HasSubstr("Once more")));
}

TEST_F(AgentLoopAidsTest, WhereTheResultsAreEnoughOnlyAnAnswerIsLeft) {
  add_tool(describe("read"), "the text");
  add_tool(describe("list"), "a b c");
  say(kReadA);
  say(kReadA);
  say("yes");
  say(answer_text("It says: the text."));
  const RunReport report = run();
  EXPECT_EQ(report.asked_anew, 1u);
  EXPECT_FALSE(may_say(3, kReadA));
  EXPECT_FALSE(may_say(3, call_text("list")));
}

TEST_F(AgentLoopAidsTest, OtherArgumentsOrANewCallBesideItAreNoRepetition) {
  add_tool(describe("read"), "the text");
  say(kReadA);
  say(call_text("read", R"({"path": "b"})"));
  say(call_text("read", R"({"path": "c"})") + "\n" + kReadA);
  say(answer_text("Done."));
  const RunReport report = run();
  EXPECT_EQ(report.asked_anew, 0u);
  EXPECT_EQ(runs_, 3u);  // the repetition was left out
  EXPECT_THAT(heard_.turns[2].calls, SizeIs(1));
}

TEST_F(AgentLoopAidsTest, AServiceThatFailedMayBeAskedAgain) {
  int tries = 0;
  add_tool(describe("read", ToolClass::kExternal),
           [&tries](const json::Object&, std::stop_token) -> Result<ToolOutput> {
             return ToolOutput{"try " + std::to_string(++tries), tries == 1};
           });
  say(kReadA);
  say(kReadA);
  say(answer_text("Done."));
  EXPECT_EQ(run().asked_anew, 0u);
  EXPECT_EQ(tries, 2);
}

TEST_F(AgentLoopAidsTest, AfterAWriteAReadIsNoRepetition) {
  add_tool(describe("read"), "the text");
  add_tool(describe("write", ToolClass::kWrite), "written");
  say(kReadA);
  say(call_text("write"));
  say(kReadA);
  say(call_text("write"));
  say(call_text("write"));  // a write is never one
  say(answer_text("Done."));
  const RunReport report = run();
  EXPECT_EQ(report.asked_anew, 0u);
  EXPECT_EQ(report.actions, 5u);
  EXPECT_EQ(runs_, 5u);
}

TEST_F(AgentLoopAidsTest, AReadOfAnEarlierRunIsNoRepetition) {
  add_tool(describe("read"), "the text");
  for (int i = 0; i < 2; ++i) {
    begin("Read a.");
    say(kReadA);
    say(answer_text("It says: the text."));
    EXPECT_EQ(run().asked_anew, 0u);
  }
  EXPECT_EQ(runs_, 2u);
}

TEST_F(AgentLoopAidsTest, WhatWasSummarisedMayBeReadAgain) {
  window_ = {.context_tokens = 1200, .answer_tokens = 200, .summary_tokens = 100};
  add_tool(describe("read"), std::string(900, 'x'));
  const auto read = [](int i) { return call_text("read", R"({"path": ")" + std::to_string(i) + "\"}"); };
  for (int i = 1; i <= 4; ++i) say(read(i));
  say(read(1));
  say(answer_text("Done."));
  const RunReport report = run();
  EXPECT_GE(context_->compactions(), 1u);
  EXPECT_EQ(report.asked_anew, 0u);
  EXPECT_EQ(runs_, 5u);
}

TEST_F(AgentLoopAidsTest, MappedNamesAreAskedAnewUnderTheMask) {
  add_tool(describe("read"), "the text");
  options_.names = NameRule::kMap;
  say(kReadA);
  say(kReadA);
  say("no");
  say(answer_text("It says: the text."));
  EXPECT_EQ(run().asked_anew, 1u);
  EXPECT_TRUE(may_say(0, call_text("peruse")));
  EXPECT_FALSE(may_say(3, kReadA));
}

TEST_F(AgentLoopAidsTest, WhatFailedIsAskedAnewByChance) {
  add_tool(describe("read"),
           [](const json::Object&, std::stop_token) -> Result<ToolOutput> { return ToolOutput{"no such file", true}; });
  say(kReadA);
  say(kReadA);
  say(call_text("read", R"({"path": "b"})"));
  say(answer_text("There is none."));
  options_.aids.failures = false;
  EXPECT_EQ(run().asked_anew, 1u);
  EXPECT_EQ(generator_.requests[1].sampling.temperature, 0);
  EXPECT_GT(generator_.requests[2].sampling.temperature, 0);
  EXPECT_TRUE(may_say(2, kReadA));
}

TEST_F(AgentLoopAidsTest, ATurnIsCutWhereItAnswersBesideCalls) {
  add_tool(describe("read"), "the text");
  say(FakeReply{.text = kReadA + "\n<tool_call>\n{\"name\": \"answer\", \"arguments\": {\"te", .is_endless = true});
  say(answer_text("It says: the text."));
  const RunReport report = run();
  EXPECT_EQ(report.actions, 1u);
  EXPECT_EQ(report.invalid_calls, 0u);
}

TEST_F(AgentLoopAidsTest, ATurnIsCutBehindADouble) {
  add_tool(describe("read"), "the text");
  say(FakeReply{.text = kReadA + "\n" + kReadA + "\n<tool_call>\n{\"na", .is_endless = true});
  say(answer_text("It says: the text."));
  const RunReport report = run();
  EXPECT_EQ(report.state, RunState::kDone);
  EXPECT_EQ(report.actions, 1u);
  EXPECT_EQ(report.invalid_calls, 0u);
  EXPECT_EQ(report.asked_anew, 0u);
}

// --- a task that changes nothing -----------------------------------------------------------------------------------

class NarrowTest : public RunFixture {
 protected:
  void SetUp() override {
    options_.aids.narrow = true;
    add_tool(describe("read"), "the text");
    add_tool(describe("write", ToolClass::kWrite), "written");
  }
};

TEST_F(NarrowTest, GetsNoToolThatChangesSomething) {
  say("no");
  say(kReadA);
  say(answer_text("It says: the text."));
  const RunReport report = run();
  EXPECT_TRUE(report.is_narrowed);
  EXPECT_EQ(report.turns, 2u);
  EXPECT_THAT(prompt(0), HasSubstr("Do it."));
  EXPECT_THAT(prompt(0), Not(HasSubstr("<|tools|>")));
  EXPECT_THAT(prompt(1), HasSubstr(R"("name":"write")"));  // shown, so that the prefix is that of any task
  EXPECT_FALSE(may_say(1, call_text("write")));
  EXPECT_TRUE(may_say(1, answer_text("x")));
  EXPECT_EQ(heard_.text, "");
}

TEST_F(NarrowTest, IsNotQuestionedForALookInVain) {
  add_tool(describe("find"),
           [](const json::Object&, std::stop_token) -> Result<ToolOutput> { return ToolOutput{"no such file", true}; });
  say("no");
  say(kReadA);
  say(call_text("find"));
  say(answer_text("It says: the text."));
  EXPECT_EQ(run().answer, "It says: the text.");
}

TEST_F(NarrowTest, IsOverWhenTheResultsAreEnough) {
  options_.aids.check = true;
  add_tool(describe("find"),
           [](const json::Object&, std::stop_token) -> Result<ToolOutput> { return ToolOutput{"no such file", true}; });
  say("no");
  say(kReadA);
  say("no");  // not yet
  say(call_text("find"));
  say(call_text("read", R"({"path": "b"})"));  // nothing is asked after what brought nothing
  say("yes");
  say(answer_text("Both say: the text."));
  EXPECT_EQ(run().answer, "Both say: the text.");
  EXPECT_THAT(prompt(2), HasSubstr("<|user|>Look at the results so far."));
  EXPECT_TRUE(may_say(3, call_text("find")));
  EXPECT_THAT(prompt(5), HasSubstr("<|user|>Look at the results so far."));
  EXPECT_FALSE(may_say(6, kReadA));
  EXPECT_FALSE(may_say(6, call_text("find")));
  EXPECT_TRUE(may_say(6, answer_text("x")));
}

TEST_F(NarrowTest, IsNotOverWhenNothingWasFound) {
  options_.aids.check = true;
  add_tool(describe("find"), R"({"found": [], "of": {}, "next": null})");
  say("no");
  say(call_text("find"));
  say(kReadA);
  say("yes");
  say(answer_text("It says: the text."));
  EXPECT_EQ(run().turns, 3u);
}

TEST_F(NarrowTest, IsNotOverBeforeItsPlacesWereSeen) {
  begin("Compare /a.txt and /b.txt.");
  options_.aids.check = true;
  say("no");
  say(call_text("read", R"({"path": "/a.txt"})"));
  say(call_text("read", R"({"path": "/b.txt"})"));
  say("yes");
  say(answer_text("They are the same."));
  EXPECT_EQ(run().turns, 3u);
}

TEST_F(NarrowTest, AnotherOneGetsAll) {
  say("yes");
  say(call_text("write"));
  say(answer_text("Done."));
  EXPECT_FALSE(run().is_narrowed);
}

TEST_F(NarrowTest, IsNotAskedAboutALaterTask) {
  say("no");
  say(answer_text("Yes."));
  run();
  begin("Now write it.");
  say(call_text("write"));
  say(answer_text("Done."));
  EXPECT_FALSE(run().is_narrowed);
}

TEST_F(NarrowTest, NorAboutOneThatTellsToChangeSomething) {
  begin("How long is it? Write the number down.");
  say(call_text("write"));
  say(answer_text("Done."));
  EXPECT_FALSE(run().is_narrowed);
}

TEST_F(NarrowTest, NorWhereNothingCouldBeChanged) {
  tools_.keep_first(1);
  say(answer_text("Done."));
  EXPECT_FALSE(run().is_narrowed);
}

TEST_F(NarrowTest, AnErrorOfTheQuestionIsOneOfTheRun) {
  say(FakeReply{.reason = generation::FinishReason::kError, .error = Error{Code::kUnavailable, "draining", {}}});
  const auto report = try_run();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, Code::kUnavailable);
}

TEST_F(NarrowTest, MayHaveBytesThatAreNoText) {
  begin("Read \xFF.");
  say("no");
  say(answer_text("No."));
  EXPECT_TRUE(run().is_narrowed);
  EXPECT_THAT(prompt(0), HasSubstr("Read \xEF\xBF\xBD."));
}

// --- answers -------------------------------------------------------------------------------------------------------

TEST_F(AgentLoopAidsTest, AnAnswerMayBeReasonedFirst) {
  add_tool(describe("read"), "2 and 3");
  options_.aids.reasoning = true;
  say(kReadA);
  say(call_text("answer", R"({"reasoning": "2 + 3 = 5", "text": "It is 5."})"));
  EXPECT_EQ(run().answer, "It is 5.");
  EXPECT_FALSE(may_say(1, answer_text("It is 5.")));
  EXPECT_EQ(heard_.turns[1].reasoning, "2 + 3 = 5");
  EXPECT_THAT(store_->messages("s")->back().json, Not(HasSubstr("2 + 3")));
}

TEST_F(AgentLoopAidsTest, AnAnswerIsHeldBackWhileItsResultsAreNotEnough) {
  add_tool(describe("read"), "the text");
  options_.aids.check = true;
  say(kReadA);
  say(answer_text("It says: the text."));
  say("no");
  say(call_text("read", R"({"path": "b"})"));
  say(answer_text("Both say: the text."));
  say("yes");
  const RunReport report = run();
  EXPECT_EQ(report.answer, "Both say: the text.");
  EXPECT_EQ(report.turns, 3u);
  EXPECT_EQ(report.asked_anew, 1u);
  EXPECT_THAT(prompt(2), HasSubstr("<|user|>Look at the results so far."));
  EXPECT_EQ(prompt(3), prompt(1));
  EXPECT_FALSE(may_say(3, answer_text("x")));
}

TEST_F(AgentLoopAidsTest, ButNotForEver) {
  add_tool(describe("read"), "the text");
  options_.aids.check = true;
  for (int i = 1; i <= 3; ++i) {
    say(call_text("read", R"({"path": ")" + std::to_string(i) + "\"}"));
    say(answer_text("It says: the text."));
    if (i < 3) say("no");
  }
  EXPECT_EQ(run().turns, 4u);
}

TEST_F(AgentLoopAidsTest, AnAnswerToAQuestionOfNoToolIsNotChecked) {
  add_tool(describe("read"), "the text");
  options_.aids.check = true;
  say(answer_text("Hello."));
  EXPECT_EQ(run().answer, "Hello.");
}

TEST_F(AgentLoopAidsTest, AnAnswerAfterAFailureIsQuestionedOnce) {
  add_tool(describe("read"),
           [](const json::Object&, std::stop_token) -> Result<ToolOutput> { return ToolOutput{"no such file", true}; });
  say(kReadA);
  say(answer_text("I have read it."));
  say(answer_text("There is no such file."));
  const RunReport report = run();
  EXPECT_EQ(report.state, RunState::kDone);
  EXPECT_EQ(report.answer, "There is no such file.");
  EXPECT_EQ(report.turns, 3u);
  EXPECT_THAT(
      prompt(2),
      HasSubstr(
          "<|assistant|>I have read it.<|end|>\n<|user|>The last call of read failed: no such file. So that part"));
}

TEST_F(AgentLoopAidsTest, AnotherFailureIsQuestionedAgain) {
  add_tool(describe("read"),
           [](const json::Object&, std::stop_token) -> Result<ToolOutput> { return ToolOutput{"no such file", true}; });
  say(kReadA);
  say(answer_text("I have read it."));
  say(call_text("read", R"({"path": "b"})"));
  say(answer_text("Now I have read it."));
  say(answer_text("There is no such file."));
  EXPECT_EQ(run().answer, "There is no such file.");
}

TEST_F(AgentLoopAidsTest, AnAnswerAfterASuccessIsNotQuestioned) {
  bool has_failed = false;
  add_tool(describe("read"), [&has_failed](const json::Object&, std::stop_token) -> Result<ToolOutput> {
    return ToolOutput{"the text", !std::exchange(has_failed, true)};
  });
  say(kReadA);
  say(call_text("read", R"({"path": "b"})"));
  say(answer_text("It says: the text."));
  EXPECT_EQ(run().turns, 3u);
}

}  // namespace
}  // namespace autoglm::agent

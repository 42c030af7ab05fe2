// SPDX-License-Identifier: Apache-2.0
// What a turn does: calls and their results, what goes back to the model when something is wrong, what the grammar
// allows. What helps small models: agent_loop_aids_test.cc. How a run ends: agent_loop_end_test.cc.
#include "agent/agent_loop.h"

#include <gmock/gmock.h>

#include <latch>
#include <stdexcept>

#include "agent/run_fixture.h"
#include "agent/yes_no.h"

namespace autoglm::agent {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

using AgentLoopTest = RunFixture;

// What the model is shown of a call, as FakeModel writes it.
std::string shown_result(std::string_view text) { return "<|tool|>" + std::string(text) + "<|end|>\n"; }

TEST_F(AgentLoopTest, AResultGoesBackAndAnAnswerEndsTheRun) {
  add_tool(describe("read"), [](const json::Object& arguments, std::stop_token) -> Result<ToolOutput> {
    return ToolOutput{"the text of " + std::string(arguments.at("path").get_string()), false};
  });
  say(kReadA);
  say(answer_text("It is done."));
  const RunReport report = run();
  EXPECT_EQ(report.state, RunState::kDone);
  EXPECT_EQ(report.answer, "It is done.");
  EXPECT_EQ(report.turns, 2u);
  EXPECT_EQ(report.actions, 1u);
  EXPECT_EQ(report.invalid_calls, 0u);
  EXPECT_EQ(report.asked_anew, 0u);
  EXPECT_EQ(report.usage.prompt_tokens, prompt(0).size() + prompt(1).size());
  EXPECT_EQ(report.usage.completion_tokens, kReadA.size() + answer_text("It is done.").size());
  // The second prompt begins with the first, and adds the call and its result.
  EXPECT_EQ(report.usage.cached_tokens, prompt(0).size());
  EXPECT_THAT(prompt(1), StartsWith(prompt(0)));
  EXPECT_THAT(prompt(1), HasSubstr(R"("function":{"name":"read","arguments":{"path":"a"}})"));
  EXPECT_THAT(prompt(1), EndsWith(shown_result("the text of a")));
  EXPECT_EQ(row().state, "done");
  EXPECT_EQ(row().answer, "It is done.");
  ASSERT_THAT(heard_.turns, SizeIs(2));
  EXPECT_EQ(heard_.turns[0].calls[0].id, "call_1");
  EXPECT_EQ(heard_.turns[1].text, "It is done.");
  EXPECT_EQ(heard_.turns[1].usage.prompt_tokens, prompt(1).size());
}

TEST_F(AgentLoopTest, EachTurnIsACallOfATool) {
  add_tool(describe("read"), "the text");
  say(answer_text("Nothing to do."));
  run();
  EXPECT_THAT(prompt(0), HasSubstr(R"("name":"answer")"));
  EXPECT_TRUE(may_say(0, kReadA));
  EXPECT_TRUE(may_say(0, kReadA + "\n" + kReadA));
  EXPECT_TRUE(may_say(0, "<think>I should read it.</think>\n" + kReadA));
  EXPECT_FALSE(may_say(0, "I should read it."));
  EXPECT_FALSE(may_say(0, call_text("peruse")));
  EXPECT_FALSE(may_say(0, answer_text("")));
}

TEST_F(AgentLoopTest, ResultsComeInTheOrderOfCalls) {
  std::latch second_ended(1);
  add_tool(describe("first"), [&](const json::Object&, std::stop_token) -> Result<ToolOutput> {
    second_ended.wait();
    return ToolOutput{"of the first", false};
  });
  add_tool(describe("second"), [&](const json::Object&, std::stop_token) -> Result<ToolOutput> {
    second_ended.count_down();
    return ToolOutput{"of the second", false};
  });
  say(call_text("first") + "\n" + call_text("second"));
  say(answer_text("Both."));
  const RunReport report = run();
  EXPECT_EQ(report.turns, 2u);
  EXPECT_EQ(report.actions, 2u);
  EXPECT_THAT(prompt(1), EndsWith(shown_result("of the first") + shown_result("of the second")));
}

TEST_F(AgentLoopTest, ACallMayUseAnEarlierResult) {
  std::vector<std::string> written;
  add_tool(describe("find"), R"({"path":"b"})");
  add_tool(describe("write", ToolClass::kWrite, Approval::kAsk),
           [&](const json::Object& arguments, std::stop_token) -> Result<ToolOutput> {
             written.push_back(json::format(arguments));
             return ToolOutput{"written", false};
           });
  say(call_text("find") + "\n" + call_text("write", R"({"to": "$step_1.path"})"));
  say(call_text("write", R"({"to": "$step_1.path", "after": "$step_2"})"));  // and of an earlier turn
  say(answer_text("Written."));
  EXPECT_EQ(run().state, RunState::kDone);
  EXPECT_THAT(written, ElementsAre(R"({"to":"b"})", R"({"to":"b","after":"written"})"));
  // The journal has what ran, the conversation what the model wrote.
  EXPECT_EQ(store_->steps(context_->run())->at(1).arguments, R"({"to":"b"})");
  EXPECT_THAT(prompt(1), HasSubstr(R"("arguments":{"to":"$step_1.path"})"));
}

TEST_F(AgentLoopTest, WhatIsWrongWithACallGoesBack) {
  ToolDescription strict = describe("read");
  strict.parameters =
      parse_json(R"({"type":"object","properties":{"path":{"type":"string"}},"required":["path"]})").as_object();
  add_tool(strict, "the text");
  const auto say_wrong = [this](std::string text) { say(FakeReply{.text = std::move(text), .breaks_grammar = true}); };
  say_wrong(call_text("read", R"({"path": 7})"));
  say_wrong(call_text("peruse", R"({"path": "a"})"));
  say_wrong(call_text("read", R"({"path": "a" "b"})"));
  say_wrong(call_text("read", R"({"path": "$step_9"})"));
  say(answer_text("I cannot."));
  options_.aids.failures = false;
  const RunReport report = run();
  EXPECT_EQ(report.state, RunState::kDone);
  EXPECT_EQ(report.turns, 5u);
  EXPECT_EQ(report.actions, 4u);
  EXPECT_EQ(report.invalid_calls, 1u);
  EXPECT_EQ(runs_, 0u);
  EXPECT_THAT(prompt(1), HasSubstr("<|tool|>Nothing was run. The arguments of read do not fit"));
  EXPECT_THAT(prompt(2), HasSubstr("<|tool|>There is no tool named 'peruse'"));
  EXPECT_THAT(prompt(3), HasSubstr("<|tool|>Nothing was run. the call was not complete JSON"));
  EXPECT_THAT(prompt(4), HasSubstr("there is no step 9 before this one"));
}

TEST_F(AgentLoopTest, ABrokenCallIsNoRepetition) {
  add_tool(describe("list"), "a b c");
  say(call_text("list"));
  say(FakeReply{.text = call_text("list", R"({"path: })"), .breaks_grammar = true});
  say(answer_text("I cannot."));
  options_.aids.failures = false;
  const RunReport report = run();
  EXPECT_EQ(report.asked_anew, 0u);
  EXPECT_EQ(report.invalid_calls, 1u);
  EXPECT_THAT(last_prompt(), HasSubstr("the call was not complete JSON"));
}

TEST_F(AgentLoopTest, WhatGoesWrongInAToolGoesBack) {
  ToolDescription slow = describe("slow");
  slow.timeout = std::chrono::milliseconds(5);
  add_tool(slow, [](const json::Object&, std::stop_token stop) -> Result<ToolOutput> {
    std::latch stopped(1);
    const std::stop_callback wake(stop, [&] { stopped.count_down(); });
    stopped.wait();
    return fail(Code::kCancelled, "stopped");
  });
  add_tool(describe("throws"),
           [](const json::Object&, std::stop_token) -> Result<ToolOutput> { throw std::runtime_error("out of luck"); });
  add_tool(describe("errs"), [](const json::Object&, std::stop_token) -> Result<ToolOutput> {
    return fail(Code::kCorrupt, "the answer is no JSON");
  });
  add_tool(describe("reports"),
           [](const json::Object&, std::stop_token) -> Result<ToolOutput> { return ToolOutput{"no such file", true}; });
  add_tool(describe("send", ToolClass::kExternal, Approval::kAsk), "sent");
  for (const char* tool : {"slow", "throws", "errs", "reports", "send"}) say(call_text(tool));
  say(answer_text("None of it worked."));
  options_.limits.max_fruitless_turns = 10;
  options_.aids.failures = false;
  const RunReport report = run();
  EXPECT_EQ(report.state, RunState::kDone);
  EXPECT_EQ(report.actions, 5u);
  EXPECT_EQ(report.invalid_calls, 0u);
  EXPECT_THAT(prompt(1), EndsWith(shown_result("slow took longer than 5 ms and was stopped.")));
  EXPECT_THAT(prompt(2), EndsWith(shown_result("throws failed: the tool broke: out of luck")));
  EXPECT_THAT(prompt(3), EndsWith(shown_result("errs failed: the answer is no JSON")));
  EXPECT_THAT(prompt(4), EndsWith(shown_result("no such file")));
  EXPECT_THAT(prompt(5), HasSubstr("<|tool|>send was not run, because it was not approved: "));
  EXPECT_EQ(runs_, 0u);
}

// --- the quiet tool ------------------------------------------------------------------------------------------------

class QuietToolTest : public RunFixture {
 protected:
  // A tool with a long result, and read_result of the session's memory.
  void SetUp() override {
    begin();
    std::string lines;
    for (int i = 1; i <= 2000; ++i) lines += "line " + std::to_string(i) + "\n";
    add_tool(describe("read"), lines);
    add_tool(describe("stat"), "2000 lines");
    for (auto& tool : context_->built_in_tools()) {
      if (tool->description().is_quiet) ASSERT_TRUE(tools_.add(std::move(tool)));
    }
  }
  const std::string read_on_ = call_text("read_result", R"({"step": 2, "from_line": 100, "lines": 2})");
};

TEST_F(QuietToolTest, AppearsWhenAResultTellsOfIt) {
  EXPECT_THAT(json::format(shown_tools(tools_, text::ToolFormat::kHermes, {})), Not(HasSubstr("read_result")));
  say(call_text("stat"));
  say(kReadA);
  say(read_on_);
  say(answer_text("Line 100 says so."));
  EXPECT_EQ(run().state, RunState::kDone);
  EXPECT_FALSE(may_say(0, read_on_));
  EXPECT_FALSE(may_say(1, read_on_));
  EXPECT_THAT(prompt(2), HasSubstr("of 2000 lines are shown. read_result with {\"step\": 2, "));
  EXPECT_THAT(prompt(2), Not(HasSubstr("line 1999")));
  EXPECT_TRUE(may_say(2, read_on_));
  EXPECT_THAT(prompt(3), HasSubstr("<|tool|>Lines 100 to 101 of 2000 of step 2:\nline 100\nline 101\n"));
  EXPECT_THAT(last_prompt(), Not(HasSubstr(R"("name":"read_result","description")")));  // never in the list
}

TEST_F(QuietToolTest, ATurnThatIsAskedAnewFollowsTheSameRule) {
  say(call_text("stat"));
  say(call_text("stat"));  // refused
  say("no");
  say(kReadA);
  say(kReadA);  // refused, when the result has told of read_result
  say("no");
  say(answer_text("Enough."));
  EXPECT_EQ(run().asked_anew, 2u);
  EXPECT_FALSE(may_say(3, read_on_));
  EXPECT_TRUE(may_say(6, read_on_));
}

// --- answers -------------------------------------------------------------------------------------------------------

TEST_F(AgentLoopTest, AnAnswerBesideCallsIsIgnored) {
  add_tool(describe("read"), "the text");
  say(kReadA + "\n" + answer_text("I guess: a text."));
  say(answer_text("It says: the text."));
  const RunReport report = run();
  EXPECT_EQ(report.answer, "It says: the text.");
  EXPECT_EQ(report.actions, 1u);
  EXPECT_THAT(last_prompt(), Not(HasSubstr("I guess")));
}

TEST_F(AgentLoopTest, ACutThoughtBringsARemark) {
  add_tool(describe("read"), "the text");
  say(FakeReply{.text = "<think>On the one hand", .reason = generation::FinishReason::kLength});
  say(answer_text("Yes."));
  const RunReport report = run();
  EXPECT_EQ(report.answer, "Yes.");
  EXPECT_EQ(report.turns, 2u);
  EXPECT_THAT(prompt(1), HasSubstr("<|user|>That was cut at its length limit."));
}

TEST_F(AgentLoopTest, ACutCallIsToldSo) {
  add_tool(describe("read"), "the text");
  say(FakeReply{.text = R"(<tool_call>{"name": "read", "arguments": {"path": "aaaa)",
                .reason = generation::FinishReason::kLength});
  say(answer_text("I cannot."));
  options_.aids.failures = false;
  const RunReport report = run();
  EXPECT_EQ(report.invalid_calls, 1u);
  EXPECT_EQ(runs_, 0u);
  EXPECT_THAT(prompt(1), HasSubstr("(the answer was cut at its length limit: be shorter)"));
}

TEST_F(AgentLoopTest, AWholeAnswerCountsEvenWhereTheTurnWasCut) {
  add_tool(describe("read"), "the text");
  say(FakeReply{.text = answer_text("Yes."), .reason = generation::FinishReason::kLength});
  const RunReport report = run();
  EXPECT_EQ(report.state, RunState::kDone);
  EXPECT_EQ(report.answer, "Yes.");
}

TEST_F(AgentLoopTest, AnAnswerWithoutItsTextIsToldSo) {
  add_tool(describe("read"), "the text");
  options_.names = NameRule::kMap;  // which holds arguments to no schema
  options_.aids.failures = false;
  say(call_text("answer", R"({"value": 42})"));
  say(answer_text("42"));
  const RunReport report = run();
  EXPECT_EQ(report.answer, "42");
  EXPECT_EQ(report.invalid_calls, 1u);
  EXPECT_THAT(prompt(1), HasSubstr(R"(<|tool|>Nothing was run. answer wants {"text": "..."})"));
}

TEST_F(AgentLoopTest, AToolMayBeCalledAnswer) {
  add_tool(describe("answer"), "the phone was picked up");
  say(call_text("answer"));
  say(answer_text("Somebody called.", "final_answer"));
  const RunReport report = run();
  EXPECT_EQ(report.answer, "Somebody called.");
  EXPECT_EQ(runs_, 1u);
  EXPECT_THAT(prompt(1), EndsWith(shown_result("the phone was picked up")));
}

TEST_F(AgentLoopTest, AndAnotherOneFinalAnswer) {
  add_tool(describe("answer"), "the phone was picked up");
  add_tool(describe("final_answer"), "the quiz is over");
  say(call_text("final_answer"));
  say(answer_text("It is over.", "final_answer_2"));
  EXPECT_EQ(run().answer, "It is over.");
  EXPECT_EQ(runs_, 1u);
}

TEST_F(AgentLoopTest, WithoutToolsTextIsTheAnswer) {
  say("Paris, of course.");
  const RunReport report = run();
  EXPECT_EQ(report.state, RunState::kDone);
  EXPECT_EQ(report.answer, "Paris, of course.");
  EXPECT_EQ(heard_.text, "Paris, of course.");
  EXPECT_THAT(shown_tools(tools_, text::ToolFormat::kHermes, {}), IsEmpty());
  EXPECT_THAT(prompt(0), Not(HasSubstr("answer")));
}

// As that of GLM-4.7-Flash does.
TEST_F(AgentLoopTest, ATemplateMayBeginTheThought) {
  add_tool(describe("read"), "the text");
  generator_.begin_answers_with("<think>");
  say("I write " + kReadA + " now.</think>" + kReadA);
  say("</think>" + answer_text("the text"));
  EXPECT_EQ(run().answer, "the text");
  ASSERT_THAT(heard_.turns, SizeIs(2));
  EXPECT_EQ(heard_.turns[0].reasoning, "I write " + kReadA + " now.");
  EXPECT_THAT(heard_.turns[0].calls, SizeIs(1));
  EXPECT_FALSE(may_say(0, kReadA)) << "within the thought there is no call";
  EXPECT_FALSE(may_say(0, std::string(options_.max_thinking_bytes + 100, 'x') + "</think>" + kReadA));
}

TEST_F(AgentLoopTest, AThoughtThatIsNotWantedIsEndedInThePrompt) {
  add_tool(describe("read"), "the text");
  generator_.begin_answers_with("<think>\n");
  options_.max_thinking_bytes = 0;
  say(kReadA);
  say(answer_text("the text"));
  EXPECT_EQ(run().answer, "the text");
  EXPECT_THAT(prompt(0), EndsWith("<think>\n\n</think>\n\n"));
}

TEST_F(AgentLoopTest, AQuestionGetsNoThought) {
  const json::Array nothing;
  generator_.begin_answers_with("<think>");
  const auto question = yes_no_question(generator_.card(), nothing, nullptr, "Is it?");
  ASSERT_TRUE(question) << question.error().message;
  EXPECT_THAT(std::string(question->prompt.begin(), question->prompt.end()), EndsWith("<think></think>"));
}

TEST_F(AgentLoopTest, ThePhoneAgentHasItsOwnEnd) {
  std::string done;
  add_tool(describe("do", ToolClass::kWrite), [&done](const json::Object& arguments, std::stop_token) {
    done = json::format(arguments);
    return Result<ToolOutput>(ToolOutput{"tapped", false});
  });
  options_.format = text::ToolFormat::kAutoGlm;
  say("<think>There.</think>do(action=\"Tap\", element=[1,2])");
  say("finish(message=\"It was tapped.\")");
  const RunReport report = run();
  EXPECT_EQ(done, R"({"action":"Tap","element":[1,2]})");
  EXPECT_EQ(report.answer, "It was tapped.");
  EXPECT_THAT(prompt(0), Not(HasSubstr(R"("name":"answer")")));
}

}  // namespace
}  // namespace autoglm::agent

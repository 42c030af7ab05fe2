// SPDX-License-Identifier: Apache-2.0
#include "agent/window.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/fake_model.h"

namespace autoglm::agent {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

class WindowTest : public testing::Test {
 protected:
  // 1,000 tokens of room; old turns go above 850, until 500 are left.
  WindowTest()
      : limits_{.context_tokens = 1200, .answer_tokens = 200, .result_tokens = 400, .summary_tokens = 100},
        window_(limits_, model_.count(), model_.summarise()) {
    conversation_.system = "You are an agent.";
  }

  void add(std::int64_t run, json::Object message, std::size_t step = 0) {
    conversation_.entries.push_back({++last_id_, run, std::move(message), step});
  }
  void add_task(std::int64_t run, const std::string& text) { add(run, user_message(text)); }
  // One call whose result has `bytes` bytes: about a quarter as many tokens, and 50 for the rest.
  void add_turn(std::int64_t run, std::size_t bytes) {
    const std::size_t step = actions_.size() + 1;
    const ActionCall call = call_named("call_" + std::to_string(step), "read", {{"n", step}});
    std::string text;
    while (text.size() < bytes) text += "result " + std::to_string(step) + "\n";
    add(run, assistant_message("turn " + std::to_string(step), {call}));
    add(run, tool_message(call, text), step);
    actions_.push_back({step, call, {ActionState::kDone, text, 0}});
  }

  FittedWindow fit() {
    auto fitted = window_.fit(conversation_, actions_);
    EXPECT_TRUE(fitted) << fitted.error().message;
    if (!fitted) return {};
    EXPECT_LE(FakeModel::tokens(fitted->messages), window_.room());
    EXPECT_EQ(fitted->messages, messages_of(conversation_));
    return *fitted;
  }
  static std::string_view content(const json::Array& messages, std::size_t index) {
    return content_of(messages.at(index).get_object());
  }

  FakeModel model_;
  const WindowLimits limits_;
  const Window window_;
  Conversation conversation_;
  std::vector<Action> actions_;
  std::int64_t last_id_ = 0;
};

TEST_F(WindowTest, IsTheConversationAsLongAsThatFits) {
  add_task(1, "Do it.");
  add_turn(1, 1000);
  const FittedWindow first = fit();
  EXPECT_FALSE(first.is_compacted);
  EXPECT_THAT(first.messages, SizeIs(4));
  EXPECT_EQ(content(first.messages, 0), "You are an agent.");
  EXPECT_EQ(content(first.messages, 1), "Do it.");
  add_turn(1, 1000);
  const FittedWindow second = fit();
  EXPECT_THAT(FakeModel::render(second.messages), StartsWith(FakeModel::render(first.messages)));
  EXPECT_THAT(model_.summarised, SizeIs(0));
}

TEST_F(WindowTest, AnEmptySystemTextIsNoMessage) {
  conversation_.system.clear();
  add_task(1, "Do it.");
  EXPECT_EQ(role_of(fit().messages.at(0).get_object()), "user");
}

TEST_F(WindowTest, TheOldestWholeTurnsBecomeASummary) {
  add_task(1, "Do it.");
  for (int i = 0; i < 4; ++i) add_turn(1, 700);
  const json::Array before = messages_of(conversation_);
  const FittedWindow fitted = fit();
  EXPECT_TRUE(fitted.is_compacted);
  ASSERT_THAT(model_.summarised, SizeIs(1));
  // What was summarised begins as the last window did.
  EXPECT_THAT(FakeModel::render(before), StartsWith(FakeModel::render(model_.summarised[0])));
  EXPECT_EQ(content(fitted.messages, 0), "You are an agent.");
  EXPECT_EQ(content(fitted.messages, 1), "What happened so far, in short:\na summary\n\nThe task:\nDo it.");
  ASSERT_THAT(fitted.messages, SizeIs(4));  // one turn fits beside the space for a summary
  EXPECT_EQ(content(fitted.messages, 2), "turn 4");
  EXPECT_LE(FakeModel::tokens(fitted.messages), 500u);
  // The next windows grow on it.
  add_turn(1, 700);
  const FittedWindow next = fit();
  EXPECT_FALSE(next.is_compacted);
  EXPECT_THAT(FakeModel::render(next.messages), StartsWith(FakeModel::render(fitted.messages)));
}

TEST_F(WindowTest, ASecondSummaryIsMadeOfTheFirstAndWhatCameAfter) {
  add_task(1, "Do it.");
  for (int i = 0; i < 4; ++i) add_turn(1, 700);
  fit();
  model_.summary = "a second summary";
  for (int i = 0; i < 3; ++i) add_turn(1, 700);
  const FittedWindow fitted = fit();
  ASSERT_THAT(model_.summarised, SizeIs(2));
  EXPECT_THAT(content(model_.summarised[1], 1), HasSubstr("a summary"));
  EXPECT_THAT(content(model_.summarised[1], 1), HasSubstr("Do it."));
  EXPECT_THAT(content(fitted.messages, 1), HasSubstr("a second summary"));
  EXPECT_THAT(content(fitted.messages, 1), HasSubstr("Do it."));
}

TEST_F(WindowTest, ATaskIsShownOnce) {
  add_task(1, "The first task.");
  for (int i = 0; i < 3; ++i) add_turn(1, 700);
  add(1, assistant_message("It is done.", {}));
  add_task(2, "The second task.");
  add_turn(2, 700);
  const FittedWindow fitted = fit();
  EXPECT_TRUE(fitted.is_compacted);
  // The cut lies in the first run, before its answer: that run's task is shown with the summary.
  const std::string text = FakeModel::render(fitted.messages);
  EXPECT_EQ(content(fitted.messages, 1), "What happened so far, in short:\na summary\n\nThe task:\nThe first task.");
  EXPECT_EQ(text.find("The first task."), text.rfind("The first task."));
  EXPECT_EQ(text.find("The second task."), text.rfind("The second task."));
  // Then within the second.
  for (int i = 0; i < 3; ++i) add_turn(2, 700);
  const std::string later = FakeModel::render(fit().messages);
  EXPECT_THAT(later, Not(HasSubstr("The first task.")));
  EXPECT_THAT(later, HasSubstr("a summary\n\nThe task:\nThe second task.<|end|>"));
  EXPECT_EQ(later.find("The second task."), later.rfind("The second task."));
}

TEST_F(WindowTest, RemarksStayWithTheirTurn) {
  add_task(1, "Do it.");
  for (int i = 0; i < 4; ++i) {
    add_turn(1, 700);
    add(1, user_message("remark " + std::to_string(i)));
  }
  const FittedWindow fitted = fit();
  EXPECT_TRUE(fitted.is_compacted);
  EXPECT_EQ(role_of(fitted.messages.at(2).get_object()), "assistant");
}

TEST_F(WindowTest, WithoutASummaryADigestStandsIn) {
  for (const Result<std::string>& summary :
       {Result<std::string>(fail(Code::kUnavailable, "no")), Result<std::string>(""), Result<std::string>(" \n\t")}) {
    model_.summary = summary;
    conversation_ = {.system = "s"};
    actions_.clear();
    add_task(1, "Do it.");
    for (int i = 0; i < 4; ++i) add_turn(1, 700);
    const std::string head(content(fit().messages, 1));
    EXPECT_THAT(head, HasSubstr("(earlier lines are left out)\n"));
    EXPECT_THAT(head, HasSubstr("you called read{\"n\":3} -> result 3"));
    EXPECT_THAT(head, HasSubstr("Do it."));
  }
  const Window without(limits_, model_.count(), nullptr);
  for (int i = 0; i < 4; ++i) add_turn(1, 700);
  EXPECT_TRUE(without.fit(conversation_, actions_));
  EXPECT_THAT(conversation_.summary, HasSubstr("you called"));
}

TEST_F(WindowTest, ALongSummaryIsCut) {
  for (const std::string& summary :
       {std::string(10'000, 'x'), std::string("word \xFF\n") + std::string(5000, '\n'), std::string(3000, '\xE4')}) {
    model_.summary = summary;
    conversation_ = {.system = "s"};
    actions_.clear();
    add_task(1, "Do it.");
    for (int i = 0; i < 4; ++i) add_turn(1, 700);
    fit();
    EXPECT_LE(*window_.tokens_of(conversation_.summary), limits_.summary_tokens);
    EXPECT_FALSE(conversation_.summary.empty());
  }
}

TEST_F(WindowTest, ResultsTakeTheirShareOfATurn) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "line " + std::to_string(i) + "\n";
  const std::string alone = *window_.clip(text, 1, 1);
  const std::string fifth = *window_.clip(text, 1, 5);
  EXPECT_LE(*window_.tokens_of(alone), 375u);  // three eighths of the room, below result_tokens
  EXPECT_GT(*window_.tokens_of(alone), 300u);
  EXPECT_LE(*window_.tokens_of(fifth), 75u);
  EXPECT_EQ(*window_.clip("short", 1, 100), "short");
}

TEST_F(WindowTest, WhenOneTurnIsTooMuchItsResultsAreCutMore) {
  add_task(1, "Do it.");
  add_turn(1, 6000);
  const FittedWindow fitted = fit();
  EXPECT_TRUE(fitted.is_compacted);
  ASSERT_THAT(fitted.messages, SizeIs(4));
  EXPECT_THAT(content(fitted.messages, 3), HasSubstr("read_result with {\"step\": 1,"));
  EXPECT_THAT(content(fitted.messages, 3), HasSubstr("of 667 lines are shown"));  // of the whole result
}

TEST_F(WindowTest, InTheLastResortTheSummaryStaysAlone) {
  add_task(1, "Do it.");
  const ActionCall call = call_named("call_1", "write", {{"content", std::string(6000, 'x')}});
  add(1, assistant_message("I write.", {call}));
  add(1, tool_message(call, "written"), 1);
  const FittedWindow fitted = fit();
  ASSERT_THAT(fitted.messages, SizeIs(2));
  EXPECT_THAT(content(fitted.messages, 1), HasSubstr("you called write{\"content\":\"xxx"));
  EXPECT_THAT(content(fitted.messages, 1), HasSubstr("The task:\nDo it."));
  EXPECT_TRUE(conversation_.entries.empty());
  add_turn(1, 100);
  EXPECT_THAT(fit().messages, SizeIs(4));
}

TEST_F(WindowTest, ATaskThatDoesNotFitIsAnError) {
  const std::string task(4000, 'x');
  EXPECT_EQ(window_.check_fits("system", task).error().code, Code::kExhausted);
  EXPECT_TRUE(window_.check_fits("system", "short"));
  add_task(1, task);
  add_turn(1, 100);
  const auto refused = window_.fit(conversation_, actions_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kExhausted);
  EXPECT_THAT(refused.error().message, HasSubstr("room for 1000"));
  // Nearly as long: the task stays whole, and what was done is told in what is left.
  conversation_ = {.system = "s"};
  add_task(1, std::string(3600, 'x'));
  for (int i = 0; i < 5; ++i) add_turn(1, 400);
  fit();
}

TEST_F(WindowTest, ErrorsOfTheCountAreToldAsTheyAre) {
  add_task(1, "Do it.");
  model_.count_error = Error{Code::kInvalidArgument, "the template refuses", ""};
  EXPECT_EQ(window_.fit(conversation_, actions_).error().code, Code::kInvalidArgument);
  EXPECT_EQ(window_.check_fits("s", "t").error().code, Code::kInvalidArgument);
  EXPECT_EQ(window_.clip(std::string(5000, 'x'), 1, 1).error().code, Code::kInvalidArgument);
}

}  // namespace
}  // namespace autoglm::agent

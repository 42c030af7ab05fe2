// SPDX-License-Identifier: Apache-2.0
// 500 random conversations through a context manager, killed and taken up now and then: what every window has to be.
#include <gtest/gtest.h>

#include "agent/context_manager.h"
#include "agent/fake_model.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/utf8.h"

namespace autoglm::agent {
namespace {

// One session with its tasks, turns and results, and what the windows showed of it.
class RandomConversation final {
 public:
  explicit RandomConversation(std::uint64_t seed)
      : random_(seed), store_(*store::SessionStore::open(":memory:", clock_)) {
    limits_.context_tokens = 600 + random_.below(6000);
    limits_.answer_tokens = limits_.context_tokens * (10 + random_.below(30)) / 100;
    limits_.result_tokens = 64 + random_.below(limits_.context_tokens);
    limits_.summary_tokens = 32 + random_.below(200);
    limits_.compact_to = 0.2 + 0.5 * random_.unit();
    limits_.compact_above = limits_.compact_to + (1 - limits_.compact_to) * random_.unit();
    (void)store_->create_session("s");
  }

  void run() {
    for (std::uint64_t tasks = 1 + random_.below(3); tasks > 0 && !testing::Test::HasFailure(); --tasks) run_task();
  }

  std::size_t windows = 0;
  std::size_t compactions = 0;
  std::size_t refused = 0;

 private:
  std::string random_text(std::size_t most) {
    static constexpr std::string_view kPieces[] = {
        "word ", "line\n", "世界", "0123456789", "{\"a\": 1}",       "<|im_end|>",
        "    ",  "\xFF",   "\n\n", "...",        "\xF0\x9F\x98\x80", "\t"};
    // Most are short.
    std::size_t size = random_.below(most + 1);
    if (random_.below(3) > 0) size = size * random_.below(100) / 1000;
    const std::uint64_t kinds = 1 + random_.below(std::size(kPieces));
    std::string text;
    while (text.size() < size) text += kPieces[random_.below(kinds)];
    return text;
  }

  void open() {
    context_ = nullptr;
    auto opened = ContextManager::open(*store_, "s", limits_, model_.count(),
                                       [this](const json::Array& messages, std::size_t most) {
                                         // It begins as the conversation does, so its prefix is warm.
                                         const std::string asked = FakeModel::render(messages);
                                         const std::size_t common = std::min(asked.size(), last_.size());
                                         EXPECT_EQ(asked.substr(0, common), last_.substr(0, common));
                                         return summary(most);
                                       });
    ASSERT_TRUE(opened) << opened.error().message;
    context_ = std::move(*opened);
  }

  Result<std::string> summary(std::size_t most) {
    switch (random_.below(5)) {
      case 0:
        return fail(Code::kDeadline, "no time");
      case 1:
        return random_text(most * 40);
      case 2:
        return std::string();
      default:
        return "In short: " + random_text(most);
    }
  }

  void run_task() {
    open();
    task_ = "task " + std::to_string(++tasks_) + " " + random_text(400);
    if (random_.below(40) == 0) task_ += std::string(limits_.context_tokens * 4, 'x');
    const Status begun = context_->begin(kSystem, task_, "tiny");
    if (!begun) {
      EXPECT_EQ(begun.error().code, Code::kExhausted) << begun.error().message;
      ++refused;
      return;
    }
    task_ = well_formed(task_);
    history_.push_back(task_);
    for (std::uint64_t turns = random_.below(15); turns > 0; --turns) {
      look();
      if (testing::Test::HasFailure()) return;
      take_turn();
      if (random_.below(6) == 0) be_killed();
    }
    look();
    const std::string answer = "answer " + std::to_string(++turns_);
    ASSERT_TRUE(context_->add_turn(answer, {}));
    history_.push_back(answer);
    ASSERT_TRUE(context_->end("done", answer));
    compactions += context_->compactions();
  }

  void take_turn() {
    const std::string said = "turn " + std::to_string(++turns_) + " " + random_text(300);
    std::vector<ActionCall> calls;
    for (std::uint64_t n = random_.below(5); n > 0; --n) {
      const std::string id = "call_" + std::to_string(context_->actions().size() + calls.size() + 1);
      calls.push_back(call_named(id, "tool", {{"argument", well_formed(random_text(600))}}));
    }
    ASSERT_TRUE(context_->add_turn(said, calls));
    history_.push_back(well_formed(said));
    if (calls.empty()) {
      ASSERT_TRUE(context_->add_remark("remark " + std::to_string(turns_)));
      history_.push_back("remark " + std::to_string(turns_));
      return;
    }
    std::vector<Action> actions;
    for (const ActionCall& call : calls) {
      const std::size_t step = context_->actions().size() + 1;
      Action action{step, call, {ActionState::kDone, random_text(limits_.context_tokens * 8), 0}};
      if (random_.below(2) == 0) ASSERT_TRUE(context_->record_intent(action, call.arguments));
      ASSERT_TRUE(context_->record_result(action));
      actions.push_back(std::move(action));
    }
    ASSERT_TRUE(context_->add_results(actions));
  }

  // Another process takes the run up: it sees what this one saw.
  void be_killed() {
    look();
    const std::string before = last_;
    const std::int64_t run = context_->run();
    compactions += context_->compactions();
    open();
    ASSERT_TRUE(context_->resume(run));
    const std::size_t windows_before = windows;
    look();
    EXPECT_EQ(last_, before);
    ASSERT_EQ(windows, windows_before + 1);
  }

  void look() {
    const std::size_t compactions_before = context_->compactions();
    const auto window = context_->window();
    ASSERT_TRUE(window) << window.error().message;
    ++windows;
    ASSERT_LE(FakeModel::tokens(*window), limits_.context_tokens - limits_.answer_tokens);
    const std::string rendered = FakeModel::render(*window);
    const bool is_extension = context_->compactions() == compactions_before;
    if (is_extension) EXPECT_EQ(rendered.substr(0, last_.size()), last_) << "not the last window's continuation";
    last_ = rendered;
    check_form(*window);
    check_order(*window);
  }

  // Pinned text, the task, then turns; each call with its result right behind, in call order.
  void check_form(const json::Array& window) {
    ASSERT_GE(window.size(), 2u);
    EXPECT_EQ(json::format(window[0]), json::format(system_message(kSystem)));
    EXPECT_EQ(role_of(window[1].get_object()), "user");
    EXPECT_NE(last_.find(task_), std::string::npos) << "the task is not in sight";
    for (std::size_t i = 2; i < window.size(); ++i) {
      const json::Object& message = window[i].get_object();
      ASSERT_NE(role_of(message), "tool") << "a result without its call";
      ASSERT_NE(role_of(message), "system");
      const auto calls = calls_of(message);
      for (const ActionCall& call : calls) {
        ASSERT_LT(++i, window.size()) << "a call without its result";
        const json::Object& result = window[i].get_object();
        ASSERT_EQ(role_of(result), "tool");
        EXPECT_EQ(result.at("tool_call_id").get_string(), call.id);
        EXPECT_EQ(result.at("name").get_string(), call.tool);
        EXPECT_TRUE(base::is_utf8(content_of(result)));
      }
    }
  }

  // What is shown besides the head and the results is an unbroken end of what was said.
  void check_order(const json::Array& window) {
    std::vector<std::string_view> shown;
    for (std::size_t i = 2; i < window.size(); ++i) {
      if (role_of(window[i].get_object()) != "tool") shown.push_back(content_of(window[i].get_object()));
    }
    ASSERT_LE(shown.size(), history_.size());
    const std::size_t from = history_.size() - shown.size();
    for (std::size_t i = 0; i < shown.size(); ++i) ASSERT_EQ(shown[i], history_[from + i]);
  }

  static constexpr std::string_view kSystemText = "You are an agent. <|im_end|>";
  const std::string kSystem{kSystemText};

  base::Random random_;
  base::VirtualClock clock_;
  FakeModel model_;
  WindowLimits limits_;
  std::unique_ptr<store::SessionStore> store_;
  std::unique_ptr<ContextManager> context_;
  std::string task_;
  std::string last_;                  // the last window, rendered
  std::vector<std::string> history_;  // all tasks, turns and remarks
  std::size_t tasks_ = 0;
  std::size_t turns_ = 0;
};

TEST(ContextPropertyTest, WindowsOfRandomConversations) {
  const std::uint64_t seed = base::entropy_bits();
  std::size_t windows = 0;
  std::size_t compactions = 0;
  std::size_t refused = 0;
  for (std::uint64_t i = 0; i < 500 && !HasFailure(); ++i) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", conversation " + std::to_string(i));
    RandomConversation conversation(base::random_bits(seed, i, 0));
    conversation.run();
    windows += conversation.windows;
    compactions += conversation.compactions;
    refused += conversation.refused;
  }
  RecordProperty("windows", static_cast<int>(windows));
  RecordProperty("compactions", static_cast<int>(compactions));
  RecordProperty("refused", static_cast<int>(refused));
  EXPECT_GT(windows, 5000u);
  EXPECT_GT(compactions, 300u);
  EXPECT_GT(refused, 3u);
}

}  // namespace
}  // namespace autoglm::agent

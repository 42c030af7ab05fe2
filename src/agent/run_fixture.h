// SPDX-License-Identifier: Apache-2.0
// A run with everything real but its model and its tools: context, runner, journal in memory. Tests only.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/agent_loop.h"
#include "agent/approval.h"
#include "agent/fake_generator.h"
#include "agent/fake_model.h"
#include "agent/fake_tool.h"
#include "base/clock.h"

namespace autoglm::agent {

// Journals each step as the program does.
class Journal final : public ActionObserver {
 public:
  explicit Journal(ContextManager& context) : context_(context) {}
  Status on_intent(const Action& action, const json::Object& arguments) override {
    return context_.record_intent(action, arguments);
  }
  void on_state(const Action&) override {}
  void on_result(const Action& action) override { EXPECT_TRUE(context_.record_result(action)); }

 private:
  ContextManager& context_;
};

class Heard final : public RunObserver {
 public:
  void on_text(std::string_view delta) override { text += delta; }
  void on_turn(const TurnReport& report) override { turns.push_back(report); }
  void on_action(const Action&) override {}

  std::string text;
  std::vector<TurnReport> turns;
};

// As a model of the Hermes format writes it.
inline std::string call_text(std::string_view tool, std::string_view arguments = "{}") {
  return "<tool_call>\n{\"name\": \"" + std::string(tool) + "\", \"arguments\": " + std::string(arguments) +
         "}\n</tool_call>";
}
inline std::string answer_text(std::string_view text, std::string_view name = "answer") {
  return call_text(name, json::format(json::Object{{"text", text}}));
}

inline const std::string kReadA = call_text("read", R"({"path": "a"})");

class RunFixture : public testing::Test {
 protected:
  RunFixture() : store_(*store::SessionStore::open(":memory:", clock_)) {
    EXPECT_TRUE(store_->create_session("s"));
    options_.aids.narrow = options_.aids.reasoning = options_.aids.check = false;  // tests of these say so
  }

  void add_tool(ToolDescription description, FakeTool::Run run) {
    const Status added = tools_.add(std::make_unique<FakeTool>(std::move(description), std::move(run)));
    ASSERT_TRUE(added) << added.error().message;
  }
  // A tool that says the same each time.
  void add_tool(ToolDescription description, std::string says) {
    add_tool(std::move(description), [this, says = std::move(says)](const json::Object&, std::stop_token) {
      ++runs_;
      return Result<ToolOutput>(ToolOutput{says, false});
    });
  }

  void say(FakeReply reply) { generator_.replies.push_back(std::move(reply)); }
  void say(std::string text) { say(FakeReply{.text = std::move(text)}); }

  // The one before must be gone.
  void open() {
    context_ = nullptr;
    context_ = *ContextManager::open(*store_, "s", window_, model_.count(), model_.summarise());
  }
  void begin(const std::string& task = "Do it.") {
    open();
    const Status begun = context_->begin("You are an agent.", task, "fake");
    ASSERT_TRUE(begun) << begun.error().message;
  }
  Result<RunReport> try_run(std::stop_token stop = {}) {
    if (context_ == nullptr) begin();
    Journal journal(*context_);
    const auto runner = make_action_runner(tools_, action_limits_, approver_, journal, system_clock_);
    return run_agent({generator_, *context_, tools_, *runner, heard_, clock_}, options_, std::move(stop));
  }
  RunReport run(std::stop_token stop = {}) {
    auto report = try_run(std::move(stop));
    EXPECT_TRUE(report) << report.error().message;
    EXPECT_TRUE(generator_.replies.empty()) << "not asked for: " << generator_.replies.front().text;
    return report ? *report : RunReport{};
  }

  std::size_t asked() const { return generator_.requests.size(); }
  std::string prompt(std::size_t number) const { return generator_.prompt(number); }
  std::string last_prompt() const { return prompt(asked() - 1); }
  bool may_say(std::size_t number, std::string_view text) const { return generator_.may_say(number, text); }
  store::RunRow row() { return **store_->find_run(context_->run()); }

  base::VirtualClock clock_;  // the run's
  base::SystemClock system_clock_;
  FakeModel model_;
  WindowLimits window_{.context_tokens = 16384, .answer_tokens = 512, .result_tokens = 512};
  std::unique_ptr<store::SessionStore> store_;
  std::unique_ptr<ContextManager> context_;
  ToolRegistry tools_;
  FakeGenerator generator_;
  Heard heard_;
  ActionLimits action_limits_;
  Approver approver_ = make_approver(Leave::kWrites, nullptr);
  RunOptions options_;
  std::atomic<std::size_t> runs_ = 0;  // of tools that say the same each time
};

}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
// A process is killed between any two of turn, intent, effect and result of a run; another one takes the run up. No
// effect happens twice, no result is lost, and what may have happened is said to be unknown.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "agent/context_manager.h"
#include "agent/fake_model.h"
#include "base/clock.h"
#include "base/temporary_folder.h"

namespace autoglm::agent {
namespace {

namespace fs = std::filesystem;

// What the scripted model says, turn by turn; the last turn is the answer.
const std::vector<std::vector<std::string>> kTurns = {{"a", "b"}, {"c"}, {"d", "e", "f"}, {}};

class ContextCrashTest : public testing::Test {
 protected:
  void clear() {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }

  // The process dies when it has come past `kill_at` of these.
  void failpoint() {
    if (passed_++ == kill_at_) raise(SIGKILL);
  }

  // The effect of a tool: a line in a file that only grows, outside of the store.
  void have_effect(const std::string& tool) { std::ofstream(folder_ / "effects", std::ios::app) << tool << std::endl; }
  std::multiset<std::string> effects() const {
    std::ifstream in(folder_ / "effects");
    return {std::istream_iterator<std::string>(in), {}};
  }

  Status run_calls(ContextManager& context, const std::vector<ActionCall>& calls) {
    std::vector<Action> actions;
    for (const ActionCall& call : calls) {
      Action action{context.actions().empty() ? 1 : context.actions().back().step + 1, call, {}};
      TRY(context.record_intent(action, call.arguments));
      failpoint();
      have_effect(call.tool);
      failpoint();
      action.result.text = "result of " + call.tool;
      TRY(context.record_result(action));
      failpoint();
      actions.push_back(std::move(action));
    }
    TRY(context.add_results(actions));
    failpoint();
    return {};
  }

  // The loop of a run, from wherever it is.
  Status go_on(ContextManager& context) {
    if (const auto rest = context.unbegun_calls(); !rest.empty()) TRY(run_calls(context, rest));
    while (!context.answer()) {
      TRY(context.window());
      std::vector<ActionCall> calls;
      for (const std::string& tool : kTurns.at(context.turns())) calls.push_back(call_named("call_" + tool, tool));
      TRY(context.add_turn(calls.empty() ? "The end." : "", calls));
      failpoint();
      if (!calls.empty()) TRY(run_calls(context, calls));
    }
    return context.end("done", *context.answer());
  }

  // A process that takes the run up, or begins it, and is killed on its way. True when it came to the end.
  bool live() {
    const pid_t child = fork();
    if (child == 0) _exit(life().has_value() ? 0 : 1);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0) << status;
    return WIFEXITED(status);
  }

  Status life() {
    auto store = TRY(open_store());
    if (!TRY(store->find_session("s"))) TRY(store->create_session("s"));
    FakeModel model;
    auto context = TRY(ContextManager::open(*store, "s", {}, model.count(), model.summarise()));
    const auto runs = TRY(store->runs("s"));
    TRY(runs.empty() ? context->begin("system", "the task", "tiny") : context->resume(runs.back().id));
    failpoint();
    return go_on(*context);
  }

  Result<std::unique_ptr<store::SessionStore>> open_store() {
    return store::SessionStore::open(folder_ / "sessions.db", clock_, std::chrono::seconds(30));
  }

  // What has to hold at the end, whatever happened on the way, after `kills` of them.
  void check(std::size_t kills) {
    const auto store = *open_store();
    const auto runs = *store->runs("s");
    ASSERT_EQ(runs.size(), 1u);
    EXPECT_EQ(runs[0].state, "done");
    EXPECT_EQ(runs[0].answer, "The end.");
    const auto done = effects();
    std::size_t unknown = 0;
    std::set<std::string> seen;
    for (const store::StepRow& step : *store->steps(runs[0].id)) {
      EXPECT_TRUE(seen.insert(step.tool).second) << step.tool << " is there twice";
      ASSERT_TRUE(step.result);
      EXPECT_LE(done.count(step.tool), 1u) << step.tool;
      if (step.state == "unknown") {
        ++unknown;
        continue;
      }
      EXPECT_EQ(step.state, "done");
      EXPECT_EQ(*step.result, "result of " + step.tool);
      EXPECT_EQ(done.count(step.tool), 1u) << step.tool;
    }
    EXPECT_EQ(seen.size(), 6u);
    EXPECT_LE(unknown, kills);
    // The conversation is whole: every call has its result behind it, in call order.
    std::vector<std::string> roles;
    for (const store::MessageRow& row : *store->messages("s")) {
      base::Budget budget;
      const json::Value message = *json::parse(row.json, budget);
      const json::Value* name = message.get_object().if_contains("name");
      roles.push_back(name ? std::string(name->get_string()) : std::string(role_of(message.get_object())));
    }
    EXPECT_EQ(roles, (std::vector<std::string>{"user", "assistant", "a", "b", "assistant", "c", "assistant", "d", "e",
                                               "f", "assistant"}));
  }

  base::VirtualClock clock_;
  const base::TemporaryFolder folder_;
  std::size_t passed_ = 0;
  std::size_t kill_at_ = static_cast<std::size_t>(-1);
};

TEST_F(ContextCrashTest, OneKillAtEveryPlace) {
  std::size_t places = 0;
  for (bool came_through = false; !came_through && !HasFailure(); ++places) {
    SCOPED_TRACE("killed at place " + std::to_string(places));
    clear();
    kill_at_ = places;
    came_through = live();
    kill_at_ = static_cast<std::size_t>(-1);
    if (!came_through) EXPECT_TRUE(live());
    check(1);
  }
  EXPECT_EQ(places, 27u);  // begin, and after each of 4 turns, 6 intents, 6 effects, 6 results, 3 joins; and none
}

// Each process dies a little further on than the one before.
TEST_F(ContextCrashTest, AKillInEveryProcess) {
  for (std::size_t stride = 1; stride < 8 && !HasFailure(); ++stride) {
    SCOPED_TRACE("stride " + std::to_string(stride));
    clear();
    kill_at_ = stride;
    std::size_t kills = 0;
    while (!live() && !HasFailure()) {
      ASSERT_LT(++kills, 100u);
    }
    check(kills);
  }
}

}  // namespace
}  // namespace autoglm::agent

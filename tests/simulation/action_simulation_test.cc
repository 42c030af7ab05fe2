// SPDX-License-Identifier: Apache-2.0
// The action scheduler on a virtual clock with tools that hang, break, end late, end twice or refuse to stop, from a
// seed. Laws, for every seed:
//   1. every call gets exactly one result, in call order, with a text in UTF-8 within its bound;
//   2. a write never runs beside another write or beside a read that was called before or after it;
//   3. what an action refers to has ended before it starts, and its arguments are that result;
//   4. no more run at once than the turn's bound and each tool's own;
//   5. nothing starts after the turn was stopped, nothing runs after its end but what was given up;
//   6. what is asked about runs only when it was allowed; one question at a time;
//   7. the turn ends within a time that its timeouts set.
// OPENAUTOGLM_SEED=N runs one seed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <set>

#include "agent/action_scheduler.h"
#include "agent/fake_tool.h"
#include "base/random.h"
#include "base/utf8.h"

namespace autoglm::agent {
namespace {

using std::chrono::milliseconds;
using Command = ActionScheduler::Command;

constexpr std::uint64_t kSeeds = 4000;
constexpr std::uint64_t kShards = 4;

enum class Fate { kEnds, kFails, kUnavailable, kHangs, kIgnoresStop, kEndsTwice };

// One attempt at work.
struct Attempt {
  std::size_t index = 0;
  std::size_t attempt = 0;
  Fate fate = Fate::kEnds;
  base::Time ends{};
  bool is_stopped = false;
};

struct Counts {
  std::size_t given_up = 0, retried = 0, denied = 0, cancelled = 0, resolved = 0, late = 0;
};

class Turn final {
 public:
  Turn(std::uint64_t seed, Counts& counts) : random_(seed), counts_(counts) {
    limits_.max_running = 1 + random_.below(6);
    limits_.max_actions = 1 + random_.below(24);
    limits_.max_result_bytes = 16 + random_.below(200);
    for (std::size_t i = 0; i < 5; ++i) draw_tool(i);
    std::vector<ActionCall> calls(random_.below(24));
    for (std::size_t i = 0; i < calls.size(); ++i) calls[i] = draw_call(i);
    turn_.emplace(tools_, limits_, calls, std::span<const Action>(), clock_);
    if (random_.below(4) == 0) stop_at_ = clock_.now() + milliseconds(random_.below(4000));
    results_.resize(calls.size());
  }

  void run() {
    const base::Time limit = clock_.now() + std::chrono::minutes(10);
    for (;;) {
      if (stop_at_ && clock_.now() >= *stop_at_) {
        turn_->stop();
        is_stopped_ = true;
      }
      for (const Command& command : turn_->next()) obey(command);
      check_running();
      if (turn_->is_done()) break;
      ASSERT_TRUE(advance()) << "nothing will ever happen again";
      ASSERT_LT(clock_.now(), limit);
    }
    finish();
  }

 private:
  void draw_tool(std::size_t i) {
    ToolDescription tool = describe("tool_" + std::to_string(i), static_cast<ToolClass>(random_.below(3)));
    tool.approval = static_cast<Approval>(random_.below(3));
    tool.timeout = milliseconds(100 + random_.below(2000));
    tool.retries = random_.below(3);
    tool.max_concurrency = 1 + random_.below(3);
    const auto never = [](const json::Object&, std::stop_token) { return Result<ToolOutput>(ToolOutput{}); };
    ASSERT_TRUE(tools_.add(std::make_unique<FakeTool>(tool, never)));
  }

  ActionCall draw_call(std::size_t index) {
    ActionCall call = call_of("tool_" + std::to_string(random_.below(random_.below(5) == 0 ? 8 : 5)));
    if (random_.below(3) == 0) {
      // Mostly to an earlier call of the turn, now and then to none.
      const std::size_t step = 1 + random_.below(index + (random_.below(6) == 0 ? 3 : 1));
      call.arguments["from"] = "$step_" + std::to_string(step) + ".index";
    }
    if (random_.below(20) == 0) call.unusable = Error{Code::kInvalidArgument, "no call", ""};
    return call;
  }

  bool is_write(std::size_t index) const { return turn_->tool(index).description().tool_class != ToolClass::kRead; }

  void obey(const Command& command) {
    switch (command.kind) {
      case Command::Kind::kAsk:
        EXPECT_FALSE(question_) << "two questions at a time";
        EXPECT_NE(turn_->tool(command.index).description().approval, Approval::kNever);
        question_ = {command.index, clock_.now() + milliseconds(random_.below(1500))};
        break;
      case Command::Kind::kStart:
        start(command);
        break;
      case Command::Kind::kStop:
        stop(command);
        break;
      case Command::Kind::kEnded:
        ++results_[command.index];
        break;
    }
  }

  void start(const Command& command) {
    const std::size_t index = command.index;
    EXPECT_FALSE(is_stopped_) << "started after the stop";
    const ToolDescription& tool = turn_->tool(index).description();
    if (tool.approval != Approval::kNever) EXPECT_TRUE(allowed_.contains(index));
    if (command.attempt > 1) {
      EXPECT_FALSE(is_write(index)) << "a write was tried twice";
      ++counts_.retried;
    }
    check_arguments(index);
    Attempt attempt{.index = index, .attempt = command.attempt};
    attempt.fate = static_cast<Fate>(random_.below(random_.below(3) != 0 ? 6 : 2));
    attempt.ends = clock_.now() + milliseconds(random_.below(2500));
    running_.push_back(attempt);
  }

  void check_arguments(std::size_t index) {
    const auto& call = turn_->action(index).call;
    const auto* from = call.arguments.if_contains("from");
    if (from == nullptr) return;
    const std::size_t step = std::strtoul(from->get_string().c_str() + 6, nullptr, 10);
    ASSERT_GE(step, 1u);
    ASSERT_LE(step, index);
    EXPECT_EQ(turn_->action(step - 1).result.state, ActionState::kDone);
    EXPECT_EQ(json::format(turn_->arguments(index).at("from")), std::to_string(step - 1));
    ++counts_.resolved;
  }

  void stop(const Command& command) {
    for (Attempt& attempt : running_) {
      if (attempt.index != command.index || attempt.attempt != command.attempt) continue;
      attempt.is_stopped = true;
      attempt.ends = clock_.now() + milliseconds(random_.below(4000));  // some within the grace, some not
    }
  }

  // Laws 2 and 4, of those that were not given up; and a write beside a write never, not even beside a given-up one.
  void check_running() {
    std::size_t active = 0, writes = 0;
    std::map<const Tool*, std::size_t> by_tool;
    std::vector<std::size_t> active_indices;
    for (const Attempt& attempt : running_) {
      const bool is_given_up = turn_->action(attempt.index).result.state != ActionState::kRunning;
      writes += is_write(attempt.index) ? 1 : 0;
      ++by_tool[&turn_->tool(attempt.index)];
      if (is_given_up) continue;
      ++active;
      active_indices.push_back(attempt.index);
    }
    EXPECT_LE(writes, 1u) << "writes overlap";
    EXPECT_LE(active, limits_.max_running);
    for (const auto& [tool, count] : by_tool) EXPECT_LE(count, tool->description().max_concurrency);
    for (const std::size_t index : active_indices) {
      if (is_write(index)) EXPECT_EQ(active, 1u) << "something runs beside a write";
    }
  }

  // To the next thing that happens by itself, and lets it happen.
  bool advance() {
    std::optional<base::Time> next = turn_->next_time();
    const auto consider = [&next](base::Time time) {
      if (!next || time < *next) next = time;
    };
    for (const Attempt& attempt : running_) {
      if (ends_by_itself(attempt)) consider(attempt.ends);
    }
    if (question_) consider(question_->second);
    if (stop_at_ && !is_stopped_) consider(*stop_at_);
    if (!next) return false;
    clock_.advance(std::max(*next - clock_.now(), base::Duration(0)));
    if (question_ && question_->second <= clock_.now()) answer();
    for (std::size_t i = 0; i < running_.size();) {
      const Attempt attempt = running_[i];
      if (!ends_by_itself(attempt) || attempt.ends > clock_.now()) {
        ++i;
        continue;
      }
      running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
      end(attempt);
    }
    return true;
  }

  static bool ends_by_itself(const Attempt& attempt) {
    if (attempt.fate == Fate::kIgnoresStop) return false;
    return attempt.fate != Fate::kHangs || attempt.is_stopped;
  }

  void answer() {
    const std::size_t index = question_->first;
    question_.reset();
    const bool is_allowed = random_.below(4) != 0;
    if (is_allowed) allowed_.insert(index);
    counts_.denied += is_allowed ? 0 : 1;
    turn_->decide(index, {is_allowed ? Verdict::kAllow : Verdict::kDeny, "the seed says so"});
  }

  Result<ToolOutput> outcome_of(const Attempt& attempt) {
    if (attempt.is_stopped && random_.below(2) == 0) return fail(Code::kCancelled, "stopped");
    switch (attempt.fate) {
      case Fate::kFails:
        if (random_.below(2) == 0) return fail(Code::kInternal, "broke");
        return ToolOutput{"an error of its own", true};
      case Fate::kUnavailable:
        return fail(Code::kUnavailable, "away");
      default:
        break;
    }
    std::string text = R"({"index":)" + std::to_string(attempt.index) + "}";
    if (random_.below(8) == 0) text = std::string(1 + random_.below(5000), static_cast<char>(random_.bits()));
    return ToolOutput{text, false};
  }

  void end(const Attempt& attempt) {
    const bool is_late = turn_->action(attempt.index).result.state != ActionState::kRunning;
    counts_.late += is_late ? 1 : 0;
    turn_->end(attempt.index, attempt.attempt, outcome_of(attempt));
    if (attempt.fate == Fate::kEndsTwice) turn_->end(attempt.index, attempt.attempt, ToolOutput{"twice", false});
  }

  void finish() {
    const std::vector<Action> before = turn_->actions();
    // Whatever is heard of the strays after the end changes nothing.
    for (const Attempt& attempt : running_) {
      ++counts_.given_up;
      const ActionState state = turn_->action(attempt.index).result.state;
      EXPECT_TRUE(state == ActionState::kTimedOut || state == ActionState::kCancelled) << state_name(state);
      turn_->end(attempt.index, attempt.attempt, ToolOutput{"late", false});
    }
    EXPECT_TRUE(turn_->next().empty());
    EXPECT_TRUE(turn_->is_done());
    for (std::size_t i = 0; i < before.size(); ++i) {
      const Action& action = turn_->action(i);
      EXPECT_EQ(results_[i], 1u) << i;
      EXPECT_EQ(action.step, i + 1);
      EXPECT_EQ(action.result.text, before[i].result.text);
      EXPECT_TRUE(base::is_utf8(action.result.text));
      EXPECT_LE(action.result.text.size(), limits_.max_result_bytes + 80);
      EXPECT_NE(action.result.state, ActionState::kWaiting);
      EXPECT_NE(action.result.state, ActionState::kRunning);
      counts_.cancelled += action.result.state == ActionState::kCancelled ? 1 : 0;
    }
  }

  base::Random random_;
  Counts& counts_;
  base::VirtualClock clock_;
  ToolRegistry tools_;
  ActionLimits limits_;
  std::optional<ActionScheduler> turn_;
  std::vector<Attempt> running_;
  std::vector<std::size_t> results_;
  std::set<std::size_t> allowed_;
  std::optional<std::pair<std::size_t, base::Time>> question_;
  std::optional<base::Time> stop_at_;
  bool is_stopped_ = false;
};

class ActionSimulation : public testing::TestWithParam<std::uint64_t> {};

TEST_P(ActionSimulation, KeepsItsLaws) {
  Counts counts;
  const auto run_seed = [&counts](std::uint64_t seed) {
    SCOPED_TRACE("OPENAUTOGLM_SEED=" + std::to_string(seed));
    Turn turn(seed, counts);
    turn.run();
  };
  if (const char* given = std::getenv("OPENAUTOGLM_SEED")) return run_seed(std::strtoull(given, nullptr, 10));
  for (std::uint64_t seed = GetParam(); seed < kSeeds && !HasFailure(); seed += kShards) run_seed(seed);
  if (HasFailure()) return;
  for (const auto& [what, count] : {std::pair("given up", counts.given_up), std::pair("retried", counts.retried),
                                    std::pair("denied", counts.denied), std::pair("cancelled", counts.cancelled),
                                    std::pair("resolved", counts.resolved), std::pair("late", counts.late)}) {
    EXPECT_GT(count, 30u) << "too few to prove anything: " << what;
  }
}

INSTANTIATE_TEST_SUITE_P(Shard, ActionSimulation, testing::Range(std::uint64_t{0}, kShards));

}  // namespace
}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
#include "agent/action_scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "agent/reference.h"
#include "agent/result_text.h"
#include "agent/tool_mapping.h"
#include "base/check.h"
#include "base/log.h"

namespace autoglm::agent {
namespace {

constexpr std::size_t kMaxNamedTools = 40;  // in a message

bool is_write(const Tool* tool) { return tool != nullptr && tool->description().tool_class != ToolClass::kRead; }

// --- results that the scheduler itself writes: a model reads them and should know what to do next
// ---------------------

std::string no_such_tool(const ToolRegistry& tools, std::string_view name) {
  std::string text = fmt::format("There is no tool named '{}', so nothing was run.", base::printable(name, 80));
  if (const auto nearest = near_tools(name, tools, 2); !nearest.empty()) {
    text += fmt::format(" Did you mean {}?", fmt::join(nearest, " or "));
  }
  std::vector<std::string_view> names;
  for (const auto& tool : tools.tools()) names.push_back(tool->description().name);
  const bool is_cut = names.size() > kMaxNamedTools;
  if (is_cut) names.resize(kMaxNamedTools);
  return text + fmt::format(" The tools are: {}{}.", fmt::join(names, ", "), is_cut ? ", and more" : "");
}

std::string not_run(const Error& error) {
  const std::string place = error.where.empty() ? "" : fmt::format(" (at {})", base::printable(error.where, 120));
  return fmt::format("Nothing was run. {}{}", error.message, place);
}

std::string outcome_unknown(const ToolDescription& tool) {
  return tool.tool_class == ToolClass::kRead ? ""
                                             : " Whether it had its effect is not known: check before trying again.";
}

std::string stopped_text(ActionState state, const ToolDescription& tool, std::string_view why) {
  if (state == ActionState::kTimedOut) {
    return fmt::format("{} took longer than {} ms and was stopped.{}", tool.name, tool.timeout.count(),
                       outcome_unknown(tool));
  }
  return fmt::format("{} was stopped, because {}.{}", tool.name, why, outcome_unknown(tool));
}

}  // namespace

ActionScheduler::ActionScheduler(const ToolRegistry& tools, const ActionLimits& limits, std::vector<ActionCall> calls,
                                 std::span<const Action> earlier, const base::Clock& clock)
    : tools_(tools),
      limits_(limits),
      earlier_(earlier),
      clock_(clock),
      deadline_(limits.max_time ? std::optional(clock.now() + *limits.max_time) : std::nullopt),
      entries_(calls.size()) {
  const std::size_t first = earlier.empty() ? 1 : earlier.back().step + 1;
  for (ActionCall& call : calls) {
    Action& action = actions_.emplace_back();
    action.step = first + actions_.size() - 1;
    action.call = std::move(call);
    action.result.state = ActionState::kWaiting;
  }
  for (std::size_t i = 0; i < actions_.size(); ++i) plan(i);
}

// What an action waits for: results that it names, and the order of calls wherever one of the two is no read.
void ActionScheduler::plan(std::size_t index) {
  const ActionCall& call = actions_[index].call;
  Entry& entry = entries_[index];
  if (index >= limits_.max_actions) {
    return finish(index, ActionState::kFailed,
                  fmt::format("Nothing was run: {} calls may be carried out in this turn, and this is one more.",
                              limits_.max_actions));
  }
  if (call.unusable) return finish(index, ActionState::kFailed, not_run(*call.unusable));
  entry.tool = tools_.find(call.tool);
  if (entry.tool == nullptr) return finish(index, ActionState::kFailed, no_such_tool(tools_, call.tool));
  const std::size_t first = actions_[0].step;
  const auto named = limits_.has_references ? steps_named(call.arguments) : std::vector<std::size_t>{};
  for (std::size_t i = 0; i < index; ++i) {
    const bool keeps_order = entries_[i].phase != Phase::kEnded && (is_write(entry.tool) || is_write(entries_[i].tool));
    if (keeps_order || std::ranges::binary_search(named, first + i)) entry.waits_for.push_back(i);
  }
}

std::vector<ActionScheduler::Command> ActionScheduler::next() {
  settle_time();
  // In call order, again until nothing ends any more: an end may be what another waited for.
  for (std::size_t told = commands_.size() + 1; told != commands_.size();) {
    told = commands_.size();
    for (std::size_t i = 0; i < entries_.size(); ++i) settle_waiting(i);
    for (std::size_t i = 0; i < entries_.size(); ++i) settle_approved(i);
  }
  return std::exchange(commands_, {});
}

void ActionScheduler::settle_time() {
  const base::Time now = clock_.now();
  if (deadline_ && *deadline_ <= now) stop("the run's time is over");
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    Entry& entry = entries_[i];
    if (entry.until > now) continue;
    if (entry.phase == Phase::kRunning) {
      begin_stop(i, ActionState::kTimedOut);
    } else if (entry.phase == Phase::kStopping) {
      give_up(i);
    } else if (entry.phase == Phase::kResting) {
      entry.phase = Phase::kApproved;
    }
  }
}

void ActionScheduler::settle_waiting(std::size_t index) {
  Entry& entry = entries_[index];
  const auto has_ended = [this](std::size_t i) { return entries_[i].phase == Phase::kEnded; };
  if (entry.phase != Phase::kWaiting || !std::ranges::all_of(entry.waits_for, has_ended)) return;
  if (!entry.is_checked) {
    if (Status checked = check(index); !checked) {
      return finish(index, ActionState::kFailed, not_run(checked.error()));
    }
    entry.is_checked = true;
  }
  if (is_write(entry.tool) && !block_reason_.empty()) {
    return finish(index, ActionState::kFailed, "Nothing was run: " + block_reason_);
  }
  if (entry.tool->description().approval == Approval::kNever) {
    entry.phase = Phase::kApproved;
  } else if (!is_asking_) {
    is_asking_ = true;
    entry.phase = Phase::kAsking;
    commands_.push_back({Command::Kind::kAsk, index, 0});
  }
}

// References first: what the schema must hold for is what will be run.
Status ActionScheduler::check(std::size_t index) {
  Entry& entry = entries_[index];
  const FindStep find_step = [&](std::size_t step) -> const Action* {
    const std::size_t first = actions_[0].step;
    if (step >= first) return step < first + index ? &actions_[step - first] : nullptr;
    const auto found = std::ranges::find(earlier_, step, &Action::step);
    return found == earlier_.end() ? nullptr : &*found;
  };
  const ToolDescription& tool = entry.tool->description();
  const json::Object& given = actions_[index].call.arguments;
  entry.arguments = limits_.has_references ? TRY(resolve(given, find_step, tool.parameters)) : given;
  Status fits = tools_.check(*entry.tool, entry.arguments);
  if (!fits) return fail_in(fmt::format("The arguments of {} do not fit", tool.name), std::move(fits).error());
  return {};
}

void ActionScheduler::settle_approved(std::size_t index) {
  Entry& entry = entries_[index];
  if (entry.phase != Phase::kApproved) return;
  std::size_t running = 0, of_tool = 0, given_up = 0;
  for (const Entry& other : entries_) {
    const bool is_given_up = other.phase == Phase::kEnded;
    if (!other.is_attempt_running) continue;
    running += is_given_up ? 0 : 1;
    of_tool += other.tool == entry.tool ? 1 : 0;
    given_up += other.tool == entry.tool && is_given_up ? 1 : 0;
  }
  const ToolDescription& tool = entry.tool->description();
  const std::size_t room = std::max<std::size_t>(tool.max_concurrency, 1);
  if (given_up >= room) {
    return finish(index, ActionState::kFailed,
                  fmt::format("Nothing was run: an earlier call of {} could not be stopped.", tool.name));
  }
  if (of_tool >= room || running >= std::max<std::size_t>(limits_.max_running, 1)) return;
  const base::Time now = clock_.now();
  if (entry.attempt == 0) entry.began = now;
  ++entry.attempt;
  entry.phase = Phase::kRunning;
  entry.is_attempt_running = true;
  entry.until = now + tool.timeout;
  actions_[index].result.state = ActionState::kRunning;
  commands_.push_back({Command::Kind::kStart, index, entry.attempt});
}

void ActionScheduler::begin_stop(std::size_t index, ActionState state) {
  Entry& entry = entries_[index];
  entry.phase = Phase::kStopping;
  entry.stop_state = state;
  entry.until = clock_.now() + limits_.stop_grace;
  commands_.push_back({Command::Kind::kStop, index, entry.attempt});
}

void ActionScheduler::give_up(std::size_t index) {
  const Entry& entry = entries_[index];
  const ToolDescription& tool = entry.tool->description();
  finish(index, entry.stop_state,
         stopped_text(entry.stop_state, tool, stop_reason_) + " It did not react and was given up.");
  if (is_write(entry.tool)) block_writes(fmt::format("{} could not be stopped and may still be at work.", tool.name));
}

void ActionScheduler::decide(std::size_t index, Decision decision) {
  is_asking_ = false;
  Entry& entry = entries_[index];
  if (entry.phase != Phase::kAsking) return;  // stopped while the question was out
  if (decision.verdict == Verdict::kAllow) {
    entry.phase = Phase::kApproved;
    return;
  }
  const std::string reason = decision.reason.empty() ? "" : ": " + decision.reason;
  finish(index, ActionState::kDenied,
         fmt::format("{} was not run, because it was not approved{}", entry.tool->description().name, reason));
}

void ActionScheduler::refuse(std::size_t index, Error error) {
  Entry& entry = entries_[index];
  CHECK(entry.phase == Phase::kRunning && entry.is_attempt_running) << index;
  entry.is_attempt_running = false;
  finish(index, ActionState::kFailed, not_run(error));
}

void ActionScheduler::end(std::size_t index, std::size_t attempt, Result<ToolOutput> outcome) {
  if (index >= entries_.size() || !entries_[index].is_attempt_running || attempt != entries_[index].attempt) {
    ++ignored_ends_;
    return;
  }
  Entry& entry = entries_[index];
  entry.is_attempt_running = false;
  if (entry.phase == Phase::kEnded) {  // it was given up: what it says comes too late
    ++ignored_ends_;
    return;
  }
  const ToolDescription& tool = entry.tool->description();
  if (outcome) {
    // Also when it had been asked to stop: it did not, and what is true is that it ran to its end.
    const bool is_silent = outcome->is_error && outcome->text.empty();
    return finish(index, outcome->is_error ? ActionState::kFailed : ActionState::kDone,
                  is_silent ? tool.name + " failed and does not say why." : outcome->text);
  }
  if (entry.phase == Phase::kStopping) {
    return finish(index, entry.stop_state, stopped_text(entry.stop_state, tool, stop_reason_));
  }
  const bool is_worth_a_retry = outcome.error().code == Code::kUnavailable && !is_write(entry.tool);
  if (is_worth_a_retry && entry.attempt <= tool.retries) {
    const std::size_t doublings = std::min<std::size_t>(entry.attempt - 1, 10);
    entry.phase = Phase::kResting;
    entry.until = clock_.now() + limits_.retry_delay * (1u << doublings);
    actions_[index].result.state = ActionState::kWaiting;
    return;
  }
  const std::string tries = entry.attempt > 1 ? fmt::format(" ({} tries)", entry.attempt) : "";
  finish(index, ActionState::kFailed, fmt::format("{} failed{}: {}", tool.name, tries, outcome.error().message));
}

void ActionScheduler::stop(std::string_view why) {
  if (std::exchange(is_stopping_, true)) return;
  stop_reason_ = why;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Phase phase = entries_[i].phase;
    if (phase == Phase::kRunning) {
      begin_stop(i, ActionState::kCancelled);
    } else if (phase != Phase::kEnded && phase != Phase::kStopping) {
      finish(i, ActionState::kCancelled, fmt::format("Nothing was run, because {}.", why));
    }
  }
}

void ActionScheduler::block_writes(std::string reason) { block_reason_ = std::move(reason); }

void ActionScheduler::finish(std::size_t index, ActionState state, std::string_view text) {
  Entry& entry = entries_[index];
  Action& action = actions_[index];
  CHECK(entry.phase != Phase::kEnded) << "a second result of step " << action.step;
  entry.phase = Phase::kEnded;
  action.result.state = state;
  action.result.text = readable_text(text, limits_.max_result_bytes);
  if (entry.attempt > 0) action.result.seconds = std::chrono::duration<double>(clock_.now() - entry.began).count();
  commands_.push_back({Command::Kind::kEnded, index, entry.attempt});
}

bool ActionScheduler::is_done() const {
  return commands_.empty() && std::ranges::all_of(entries_, [](const Entry& e) { return e.phase == Phase::kEnded; });
}

std::optional<base::Time> ActionScheduler::next_time() const {
  std::optional<base::Time> first = is_stopping_ ? std::nullopt : deadline_;
  for (const Entry& entry : entries_) {
    const bool is_timed =
        entry.phase == Phase::kRunning || entry.phase == Phase::kStopping || entry.phase == Phase::kResting;
    if (is_timed && (!first || entry.until < *first)) first = entry.until;
  }
  return first;
}

std::vector<std::vector<std::size_t>> ActionScheduler::graph() const {
  std::vector<std::vector<std::size_t>> steps(entries_.size());
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    for (const std::size_t before : entries_[i].waits_for) steps[i].push_back(actions_[before].step);
  }
  return steps;
}

}  // namespace autoglm::agent

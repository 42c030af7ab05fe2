// SPDX-License-Identifier: Apache-2.0
#include "agent/context_manager.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "agent/memory_tools.h"
#include "agent/message.h"
#include "base/budget.h"
#include "base/check.h"

namespace autoglm::agent {
namespace {

constexpr std::size_t kNotesOfATask = 8;
constexpr std::size_t kKeptResultBytes = 64u << 20;  // of all results of a session; older ones are only in the store
constexpr std::size_t kLeastRoom = 256;              // tokens
constexpr std::size_t kLeastSummary = 32;

constexpr std::string_view kOutcomeUnknown =
    "The program ended while this was running. Whether it had its effect is not known: check before you try it again.";
constexpr std::string_view kNotBegun =
    "Nothing was run, because the program ended before this call was reached. Call it again if it is still needed.";
constexpr std::string_view kNotKept = "(This result is old and long: read_result shows it.)";

ActionState state_of(std::string_view name) {
  for (const ActionState state : {ActionState::kDone, ActionState::kFailed, ActionState::kDenied,
                                  ActionState::kTimedOut, ActionState::kCancelled}) {
    if (state_name(state) == name) return state;
  }
  return ActionState::kUnknown;
}

Result<json::Object> parse_object(std::string_view text) {
  base::Budget budget({.depth = 256});
  json::Value value = TRY(json::parse(text, budget));
  if (!value.is_object()) return fail(Code::kCorrupt, "it is not an object");
  return std::move(value.get_object());
}

Status check_resumable(store::SessionStore& store, const store::RunRow& run) {
  const std::string name = "run " + std::to_string(run.id);
  if (run.state == "interrupted") {
    return fail(Code::kInvalidArgument, name + " was given up when another one was begun");
  }
  if (run.state == "done") return fail(Code::kInvalidArgument, name + " is done");
  const std::int64_t newest = TRY(store.runs(run.session)).back().id;
  if (run.id == newest) return {};
  return fail(Code::kInvalidArgument,
              "only the newest run of a session can be taken up, which is " + std::to_string(newest));
}

class StoredContext final : public ContextManager {
 public:
  StoredContext(store::SessionStore& store, std::string session, const WindowLimits& limits, CountTokens count,
                Summarise summarise)
      : store_(store),
        session_(std::move(session)),
        limits_(limits),
        window_(limits, std::move(count), std::move(summarise)) {}
  ~StoredContext() override {
    if (is_claimed_) store_.release(session_);
  }

  Status load();

  Status begin(const std::string& system, const std::string& task, const std::string& model) override;
  Status resume(std::int64_t run) override;
  Result<json::Array> window() override;
  Status add_turn(const std::string& text, const std::vector<ActionCall>& calls) override;
  Status add_results(const std::vector<Action>& actions) override;
  Status add_remark(const std::string& text) override;
  Status end(std::string_view state, const std::string& answer) override;
  std::int64_t run() const override { return run_; }
  const std::string& session() const override { return session_; }
  const std::string& task() const override { return task_; }
  bool is_first_run() const override { return run_ == first_run_; }
  const std::vector<Action>& actions() const override { return actions_; }
  std::size_t turns() const override { return turns_; }
  std::size_t compactions() const override { return compactions_; }
  const std::optional<std::string>& answer() const override { return answer_; }
  std::vector<ActionCall> unbegun_calls() const override;
  bool last_calls_failed() const override;
  Status record_intent(const Action& action, const json::Object& arguments) override;
  Status record_result(const Action& action) override;
  std::vector<std::unique_ptr<Tool>> built_in_tools() override {
    // Half of the share in tokens if a token is four bytes, all of it if it is two: digits are few bytes a token.
    return memory_tools(store_, session_, limits_.result_tokens * 2);
  }

 private:
  using CallPlace = std::tuple<std::int64_t, std::size_t, std::string>;  // run, turn, call id

  // A call of the newest turn, and the step that has its result.
  struct OpenCall {
    ActionCall call;
    std::optional<std::size_t> step;
  };

  Status load_steps(std::map<CallPlace, std::size_t>& steps);
  Status load_messages(const std::map<CallPlace, std::size_t>& steps);
  Status close_earlier_run();
  Result<std::string> with_notes(const std::string& task) const;
  Status append(std::int64_t run, std::vector<Entry> entries);
  Status settle_turn(std::int64_t run);
  Status close_turn(std::int64_t run);
  Status record_result(std::int64_t run, const Action& action);
  store::StepRow row_of(std::int64_t run, const Action& action, const json::Object& arguments) const;
  const Action* find_action(std::size_t step) const;
  void forget_old_results();

  store::SessionStore& store_;
  const std::string session_;
  const WindowLimits limits_;
  const Window window_;
  bool is_claimed_ = false;
  std::int64_t run_ = 0;
  std::string task_;
  std::int64_t first_run_ = 0;   // of the session
  std::int64_t newest_run_ = 0;  // of the session
  std::size_t turns_ = 0;        // of the newest run
  std::size_t compactions_ = 0;
  Conversation conversation_;
  std::vector<Action> actions_;
  std::vector<OpenCall> open_;  // empty when the newest turn has its results in the conversation
  std::optional<std::string> answer_;
};

// --- taking up a session -------------------------------------------------------------------------------------------

Status StoredContext::load() {
  TRY(store_.claim(session_));
  is_claimed_ = true;
  if (!TRY(store_.find_session(session_))) return fail(Code::kNotFound, "there is no session '" + session_ + "'");
  std::map<CallPlace, std::size_t> steps;
  TRY(load_steps(steps));
  return load_messages(steps);
}

Status StoredContext::load_steps(std::map<CallPlace, std::size_t>& steps) {
  for (store::StepRow& row : TRY(store_.session_steps(session_))) {
    if (!row.result) {
      row.state = state_name(ActionState::kUnknown);
      row.result = kOutcomeUnknown;
      TRY(store_.end_step(row));
    }
    steps[{row.run, row.turn, row.call_id}] = row.step;
    Action& action = actions_.emplace_back();
    action.step = row.step;
    action.call.id = std::move(row.call_id);
    action.call.tool = std::move(row.tool);
    if (auto arguments = parse_object(row.arguments)) action.call.arguments = std::move(*arguments);
    action.result = {state_of(row.state), std::move(*row.result), row.seconds};
  }
  forget_old_results();
  return {};
}

Status StoredContext::load_messages(const std::map<CallPlace, std::size_t>& steps) {
  const auto summary = TRY(store_.summary(session_));
  if (summary) conversation_.summary = summary->text;
  std::string task;
  for (const store::MessageRow& row : TRY(store_.messages(session_))) {
    Result<json::Object> message = parse_object(row.json);
    if (!message || role_of(*message).empty()) {
      return fail(Code::kCorrupt, "message " + std::to_string(row.id) + " of the session cannot be read");
    }
    if (first_run_ == 0) first_run_ = row.run;
    if (std::exchange(newest_run_, row.run) != row.run) {
      task = content_of(*message);
      turns_ = 0;
    }
    const bool is_turn = role_of(*message) == "assistant";
    const bool is_result = role_of(*message) == "tool";
    turns_ += is_turn;
    std::size_t step = 0;
    if (is_turn) {
      open_.clear();
      for (ActionCall& call : calls_of(*message)) {
        const auto found = steps.find({row.run, turns_, call.id});
        open_.push_back({std::move(call), found == steps.end() ? std::nullopt : std::optional(found->second)});
      }
    }
    if (is_result) {
      open_.clear();  // results join a conversation all at once
      const json::Value* id = message->if_contains("tool_call_id");
      const auto found = steps.find({row.run, turns_, id && id->is_string() ? id->get_string().c_str() : ""});
      if (found != steps.end()) step = found->second;
    }
    if (summary && row.id <= summary->last_message) continue;
    if (conversation_.entries.empty()) conversation_.task = task;
    conversation_.entries.push_back({row.id, row.run, std::move(*message), step});
  }
  if (conversation_.entries.empty()) conversation_.task = task;
  return {};
}

void StoredContext::forget_old_results() {
  std::size_t kept = 0;
  for (auto action = actions_.rbegin(); action != actions_.rend(); ++action) {
    kept += action->result.text.size();
    if (kept > kKeptResultBytes) action->result.text = kNotKept;
  }
}

// --- a run's beginning and end -------------------------------------------------------------------------------------

Status StoredContext::begin(const std::string& system, const std::string& task, const std::string& model) {
  CHECK(run_ == 0) << "one context, one run";
  conversation_.system = well_formed(system);
  TRY(window_.check_fits(conversation_.system, task));
  TRY(close_earlier_run());
  std::string first = TRY(with_notes(task));
  if (!window_.check_fits(conversation_.system, first)) first = task;
  json::Object message = user_message(first);
  const auto begun = TRY(
      store_.begin_run({.session = session_, .system = conversation_.system, .task = well_formed(task), .model = model},
                       {json::format(message)}));
  run_ = newest_run_ = begun.run;
  if (first_run_ == 0) first_run_ = run_;
  task_ = well_formed(task);
  turns_ = 0;
  if (conversation_.entries.empty()) conversation_.task = content_of(message);
  conversation_.entries.push_back({begun.messages[0], run_, std::move(message), 0});
  return {};
}

// A killed or stopped run leaves a conversation in which the model was to speak: it gets its end.
Status StoredContext::close_earlier_run() {
  if (newest_run_ == 0) return {};
  const auto row = TRY(store_.find_run(newest_run_));
  std::string state = row ? row->state : "interrupted";
  if (state == "running") {
    state = "interrupted";
    TRY(store_.set_run_state(newest_run_, state, ""));
  }
  TRY(close_turn(newest_run_));
  const auto& entries = conversation_.entries;
  if (entries.empty() || role_of(entries.back().message) == "assistant") return {};
  const std::string text = "(This task was not finished. State: " + state + ".)";
  return append(newest_run_, {{.message = assistant_message(text, {})}});
}

Result<std::string> StoredContext::with_notes(const std::string& task) const {
  if (limits_.memory_tokens == 0) return task;
  std::string notes;
  for (const store::NoteRow& note : TRY(store_.recall(session_, task, kNotesOfATask))) {
    const std::string longer = notes + "- " + note.text + "\n";
    if (TRY(window_.tokens_of(longer)) <= limits_.memory_tokens) notes = longer;
  }
  // Here and not before the system text: what was pinned stays the same from run to run.
  return notes.empty() ? task : "Notes that may help:\n" + notes + "\nThe task:\n" + task;
}

Status StoredContext::resume(std::int64_t run) {
  CHECK(run_ == 0) << "one context, one run";
  const auto row = TRY(store_.find_run(run));
  if (!row || row->session != session_) {
    return fail(Code::kNotFound, "the session has no run " + std::to_string(run));
  }
  TRY(check_resumable(store_, *row));
  TRY(store_.set_run_state(run, "running", ""));
  run_ = run;
  task_ = row->task;
  conversation_.system = row->system;
  TRY(settle_turn(run));
  const auto& entries = conversation_.entries;
  const bool was_killed = row->state == "running";
  if (was_killed && open_.empty() && !entries.empty() && role_of(entries.back().message) == "assistant") {
    answer_ = content_of(entries.back().message);
  }
  return {};
}

Status StoredContext::end(std::string_view state, const std::string& answer) {
  return store_.set_run_state(run_, state, answer);
}

// --- the conversation ----------------------------------------------------------------------------------------------

Status StoredContext::append(std::int64_t run, std::vector<Entry> entries) {
  std::vector<std::string> rows;
  for (const Entry& entry : entries) rows.push_back(json::format(entry.message));
  const auto ids = TRY(store_.append_messages(run, rows));
  for (std::size_t i = 0; i < entries.size(); ++i) {
    entries[i].id = ids[i];
    entries[i].run = run;
    conversation_.entries.push_back(std::move(entries[i]));
  }
  return {};
}

Status StoredContext::add_turn(const std::string& text, const std::vector<ActionCall>& calls) {
  TRY(close_turn(run_));
  TRY(append(run_, {{.message = assistant_message(text, calls)}}));
  ++turns_;
  for (const ActionCall& call : calls) open_.push_back({call, std::nullopt});
  if (calls.empty()) answer_ = text;
  return {};
}

Status StoredContext::add_remark(const std::string& text) {
  TRY(close_turn(run_));
  TRY(append(run_, {{.message = user_message(text)}}));
  answer_.reset();
  return {};
}

Status StoredContext::add_results(const std::vector<Action>& actions) {
  for (const Action& action : actions) {
    TRY(record_result(run_, action));
    const auto is_its = [&](const OpenCall& open) { return !open.step && open.call.id == action.call.id; };
    const auto found = std::ranges::find_if(open_, is_its);
    if (found != open_.end()) found->step = action.step;
  }
  return settle_turn(run_);
}

// The results of a turn join the conversation when all are there, in one commit.
Status StoredContext::settle_turn(std::int64_t run) {
  if (open_.empty() || !std::ranges::all_of(open_, [](const OpenCall& open) { return open.step.has_value(); })) {
    return {};
  }
  std::vector<Entry> entries;
  for (const OpenCall& open : open_) {
    const Action* action = find_action(*open.step);
    CHECK(action != nullptr) << "step " << *open.step;
    const std::string text = TRY(window_.clip(action->result.text, action->step, open_.size()));
    entries.push_back({.message = tool_message(open.call, text), .step = action->step});
  }
  TRY(append(run, std::move(entries)));
  open_.clear();
  return {};
}

// Gives the calls that nobody ran a result, so that every call has one.
Status StoredContext::close_turn(std::int64_t run) {
  for (OpenCall& open : open_) {
    if (open.step) continue;
    Action action;
    action.step = actions_.empty() ? 1 : actions_.back().step + 1;
    action.call = open.call;
    action.result = {ActionState::kCancelled, std::string(kNotBegun), 0};
    TRY(record_result(run, action));
    open.step = action.step;
  }
  return settle_turn(run);
}

std::vector<ActionCall> StoredContext::unbegun_calls() const {
  std::vector<ActionCall> calls;
  for (const OpenCall& open : open_) {
    if (!open.step) calls.push_back(open.call);
  }
  return calls;
}

bool StoredContext::last_calls_failed() const {
  const auto has_failed = [this](std::size_t step) {
    const Action* action = find_action(step);
    return action != nullptr && action->result.is_error();
  };
  if (!open_.empty()) {
    return std::ranges::any_of(open_, [&](const OpenCall& open) { return open.step && has_failed(*open.step); });
  }
  bool is_in_results = false;
  for (auto entry = conversation_.entries.rbegin(); entry != conversation_.entries.rend(); ++entry) {
    const bool is_result = entry->run == run_ && role_of(entry->message) == "tool";
    if (is_result && has_failed(entry->step)) return true;
    if (entry->run != run_ || (is_in_results && !is_result)) return false;
    is_in_results = is_result;
  }
  return false;
}

Result<json::Array> StoredContext::window() {
  TRY(close_turn(run_));
  const std::size_t before = conversation_.entries.size();
  const std::int64_t last = before == 0 ? 0 : conversation_.entries.back().id;
  FittedWindow fitted = TRY(window_.fit(conversation_, actions_));
  compactions_ += fitted.is_compacted;
  const auto& entries = conversation_.entries;
  if (entries.size() < before) {
    const std::int64_t last_summarised = entries.empty() ? last : entries.front().id - 1;
    TRY(store_.set_summary(session_, {.last_message = last_summarised, .text = conversation_.summary}));
  }
  for (const Entry& entry : entries) {
    if (std::ranges::find(fitted.shortened, entry.id) == fitted.shortened.end()) continue;
    TRY(store_.replace_message(entry.id, json::format(entry.message)));
  }
  return std::move(fitted.messages);
}

// --- the journal ---------------------------------------------------------------------------------------------------

store::StepRow StoredContext::row_of(std::int64_t run, const Action& action, const json::Object& arguments) const {
  store::StepRow row;
  row.run = run;
  row.step = action.step;
  row.turn = turns_;
  row.call_id = action.call.id;
  row.tool = action.call.tool;
  row.arguments = json::format(arguments);
  return row;
}

Status StoredContext::record_intent(const Action& action, const json::Object& arguments) {
  store::StepRow row = row_of(run_, action, arguments);
  row.state = state_name(ActionState::kRunning);
  return store_.begin_step(row);
}

Status StoredContext::record_result(const Action& action) { return record_result(run_, action); }

Status StoredContext::record_result(std::int64_t run, const Action& action) {
  if (find_action(action.step) != nullptr) return {};
  store::StepRow row = row_of(run, action, action.call.arguments);
  row.state = state_name(action.result.state);
  row.result = well_formed(action.result.text);
  row.seconds = action.result.seconds;
  TRY(store_.end_step(row));
  const auto place = std::ranges::upper_bound(actions_, action.step, {}, &Action::step);
  actions_.insert(place, action)->result.text = std::move(*row.result);
  forget_old_results();
  return {};
}

const Action* StoredContext::find_action(std::size_t step) const {
  const auto found = std::ranges::lower_bound(actions_, step, {}, &Action::step);
  return found != actions_.end() && found->step == step ? &*found : nullptr;
}

}  // namespace

Result<store::RunRow> resumable_run(store::SessionStore& store, std::int64_t run) {
  auto row = TRY(store.find_run(run));
  if (!row) return fail(Code::kNotFound, "there is no run " + std::to_string(run));
  TRY(check_resumable(store, *row));
  return std::move(*row);
}

Result<std::unique_ptr<ContextManager>> ContextManager::open(store::SessionStore& store, std::string session,
                                                             const WindowLimits& limits, CountTokens count,
                                                             Summarise summarise) {
  const bool has_room = limits.context_tokens >= limits.answer_tokens + kLeastRoom;
  const bool is_sound = 0 < limits.compact_to && limits.compact_to <= limits.compact_above && limits.compact_above <= 1;
  if (!has_room || !is_sound || limits.summary_tokens < kLeastSummary) {
    return fail(Code::kInvalidArgument, "a window wants room for " + std::to_string(kLeastRoom) +
                                            " tokens besides the answer, " + std::to_string(kLeastSummary) +
                                            " for a summary, and 0 < compact_to <= compact_above <= 1");
  }
  auto context =
      std::make_unique<StoredContext>(store, std::move(session), limits, std::move(count), std::move(summarise));
  TRY(context->load());
  return context;
}

}  // namespace autoglm::agent

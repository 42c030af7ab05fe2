// SPDX-License-Identifier: Apache-2.0
#include "agent/agent_loop.h"

#include <algorithm>
#include <condition_variable>
#include <set>
#include <span>
#include <utility>

#include "agent/message.h"
#include "agent/tool_mapping.h"
#include "agent/turn_reader.h"
#include "base/mutex.h"
#include "generation/chat_prompt.h"

namespace autoglm::agent {
namespace {

double seconds(base::Duration duration) { return std::chrono::duration<double>(duration).count(); }

// One model answer on its way: parsed as it comes on the engine's thread, waited for on the run's.
class TurnSink final : public generation::Sink {
 public:
  TurnSink(TurnReader reader, RunObserver& observer) : reader_(std::move(reader)), observer_(observer) {}

  void on_token(generation::TokenEvent event) override { read(event.text); }
  void on_finish(generation::Finish finish) override EXCLUDES(mutex_) {
    read(finish.text);
    base::MutexLock lock(mutex_);
    finish_ = std::move(finish);
    changed_.notify_all();
  }
  /// Waits for the end.
  generation::Finish wait() EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    while (!finish_) lock.wait(changed_);
    return *finish_;
  }
  /// After the end only.
  TurnReader& reader() { return reader_; }

 private:
  void read(std::string_view text) {
    const std::string shown = reader_.push(text);
    if (!shown.empty()) observer_.on_text(shown);
  }

  TurnReader reader_;
  RunObserver& observer_;
  base::Mutex mutex_;
  std::condition_variable changed_;
  std::optional<generation::Finish> finish_ GUARDED_BY(mutex_);
};

bool has_answer_call(const ToolRegistry& tools, text::ToolFormat format) {
  const auto is_shown = [](const auto& tool) { return !tool->description().is_quiet; };
  return format != text::ToolFormat::kAutoGlm && std::ranges::any_of(tools.tools(), is_shown);
}

std::string answer_name(const ToolRegistry& tools) {
  std::string name = "answer";
  if (tools.find(name) != nullptr) name = "final_answer";
  for (int i = 2; tools.find(name) != nullptr; ++i) name = "final_answer_" + std::to_string(i);
  return name;
}

json::Object answer_parameters() {
  const json::Object text = {{"type", "string"}, {"minLength", 1}};
  return {{"type", "object"},
          {"properties", json::Object{{"text", text}}},
          {"required", json::Array{"text"}},
          {"additionalProperties", false}};
}

// finish(message="...") of the phone agent's language.
constexpr std::string_view kPhoneEnd = "finish";
bool has_own_end(const ToolRegistry& tools, text::ToolFormat format) {
  return format == text::ToolFormat::kAutoGlm && tools.find(kPhoneEnd) == nullptr;
}

enum class Quiet : std::uint8_t { kLeftOut, kIncluded };

// What the grammar allows.
std::vector<text::ToolSignature> signatures_of(const ToolRegistry& tools, text::ToolFormat format, Quiet quiet) {
  std::vector<text::ToolSignature> signatures;
  for (const auto& tool : tools.tools()) {
    const ToolDescription& description = tool->description();
    if (quiet == Quiet::kLeftOut && description.is_quiet) continue;
    signatures.push_back({description.name, description.parameters});
  }
  if (has_answer_call(tools, format)) signatures.push_back({answer_name(tools), answer_parameters()});
  if (has_own_end(tools, format)) signatures.push_back({std::string(kPhoneEnd), {}});
  return signatures;
}

// Whether a result in the window tells of a quiet tool.
bool tells_of_quiet(const ToolRegistry& tools, const json::Array& messages) {
  for (const auto& tool : tools.tools()) {
    if (!tool->description().is_quiet) continue;
    for (const json::Value& message : messages) {
      if (content_of(message.get_object()).contains(tool->description().name)) return true;
    }
  }
  return false;
}

class Run final {
 public:
  Run(const RunParts& parts, const RunOptions& options, std::stop_token stop)
      : parts_(parts),
        options_(options),
        stop_(std::move(stop)),
        signatures_(signatures_of(parts.tools, options.format, Quiet::kIncluded)),
        for_template_(shown_tools(parts.tools, options.format)),
        has_answer_call_(has_answer_call(parts.tools, options.format)),
        has_own_end_(has_own_end(parts.tools, options.format)),
        answer_name_(has_own_end_ ? kPhoneEnd : answer_name(parts.tools)),
        began_(parts.clock.now()),
        known_from_(parts.context.actions().size()),
        compactions_(parts.context.compactions()) {}

  Result<RunReport> run() {
    auto report = run_to_end();
    // The error that is returned matters more than one of its record.
    if (!report) (void)parts_.context.end(run_state_name(RunState::kFailed), report.error().message);
    return report;
  }

 private:
  Result<RunReport> run_to_end() {
    grammar_ = TRY(compile(Quiet::kLeftOut));
    if (const auto& given = parts_.context.answer()) TRY(answer(*given));
    if (auto calls = parts_.context.unbegun_calls(); !has_ended_ && !calls.empty()) TRY(act(std::move(calls)));
    while (!has_ended_) {
      if (Status status = take_turn(); !status) TRY(end_by(std::move(status).error()));
    }
    report_.seconds = seconds(parts_.clock.now() - began_);
    TRY(parts_.context.end(run_state_name(report_.state), report_.answer));
    return std::move(report_);
  }

  // A cancel and the run's own deadline are ends of the run, not errors, in the first turn too.
  Status end_by(Error error) {
    if (stop_.stop_requested() || error.code == Code::kCancelled) return end(RunState::kCancelled, error.message);
    if (error.code == Code::kDeadline) return end(RunState::kLimit, limit_of_seconds());
    if (report_.turns == 0) return std::unexpected(std::move(error));
    return end(RunState::kFailed, error.message);
  }

  Result<std::shared_ptr<const text::Grammar>> compile(Quiet quiet, const std::set<std::string>& without = {}) const {
    std::vector<text::ToolSignature> allowed = signatures_of(parts_.tools, options_.format, quiet);
    std::erase_if(allowed, [&](const text::ToolSignature& tool) { return without.contains(tool.name); });
    text::ToolGrammarOptions grammar;
    grammar.format = options_.format;
    grammar.choice = has_answer_call_ ? text::ToolChoice::kRequired : text::ToolChoice::kDecide;
    // Where any name goes, only the mask keeps a tool out.
    grammar.any_name = options_.names == NameRule::kMap && without.empty();
    grammar.max_thinking_bytes = options_.max_thinking_bytes;
    grammar.max_calls = options_.max_turn_calls;
    return text::tool_grammar(allowed, grammar, parts_.generator.card().tokenizer);
  }

  Status take_turn() {
    if (stop_.stop_requested()) return end(RunState::kCancelled, "the run was cancelled");
    if (const auto limit = reached_limit()) return end(RunState::kLimit, *limit);
    TurnReport turn;
    turn.turn = report_.turns + 1;
    ReadTurn read = TRY(decide(turn, {}));
    std::optional<std::string> final = take_answer(read);
    if (const auto repeated = repetitions(read.calls); !repeated.empty() && final) {
      read.calls.clear();  // it answers with their results before it
    } else if (!repeated.empty()) {
      // A small model asks again for what it has just been given, and again. Asked anew without that tool, it goes on.
      ++report_.refused_repetitions;
      read = TRY(decide(turn, repeated));
      final = take_answer(read);
    }
    ++report_.turns;
    const bool is_cut = read.is_cut && !final;  // an answer that is whole is one, whatever was to follow
    report_.invalid_calls += read.invalid_calls;
    turn.text = final && read.calls.empty() ? std::move(*final) : std::move(read.text);
    turn.calls = name_calls(std::move(read.calls), turn.renamed);
    parts_.observer.on_turn(turn);
    TRY(parts_.context.add_turn(turn.text, turn.calls));
    if (!turn.calls.empty()) return act(std::move(turn.calls));
    if (is_cut) return ask_for_less();
    return answer(std::move(turn.text));
  }

  // One answer of the model, which may call any tool but those in `without`.
  Result<ReadTurn> decide(TurnReport& turn, const std::set<std::string>& without) {
    const base::Time began = parts_.clock.now();
    const auto sink = TRY(ask(without));
    const generation::Finish finish = sink->wait();
    turn.seconds += seconds(parts_.clock.now() - began);
    report_.model_seconds += seconds(parts_.clock.now() - began);
    add(turn.usage, finish.usage);
    add(report_.usage, finish.usage);
    if (finish.error) return std::unexpected(*finish.error);
    return sink->reader().finish(finish.reason == generation::FinishReason::kLength);
  }

  // Takes the calls that give the answer out. One beside calls whose results it does not know is of no use.
  std::optional<std::string> take_answer(ReadTurn& read) const {
    std::optional<std::string> text;
    if (!has_answer_call_ && !has_own_end_) return text;
    const std::string_view key = has_answer_call_ ? "text" : "message";
    for (ActionCall& call : read.calls) {
      if (call.tool != answer_name_ || call.unusable) continue;
      const json::Value* given = call.arguments.if_contains(key);
      if (given != nullptr && given->is_string() && !given->get_string().empty()) {
        text = std::string(given->get_string());
        continue;
      }
      call.unusable =
          Error{Code::kInvalidArgument, answer_name_ + " wants {\"" + std::string(key) + "\": \"...\"}", {}};
      ++read.invalid_calls;
    }
    std::erase_if(read.calls, [&](const ActionCall& call) { return call.tool == answer_name_ && !call.unusable; });
    return text;
  }

  // The prompt of this turn, submitted.
  Result<std::shared_ptr<TurnSink>> ask(const std::set<std::string>& without) {
    const json::Array messages = TRY(parts_.context.window());
    if (std::exchange(compactions_, parts_.context.compactions()) != parts_.context.compactions()) {
      known_from_ = parts_.context.actions().size();
    }
    generation::Request request;
    request.id = "run-" + std::to_string(parts_.context.run());
    request.session = parts_.context.session();
    request.prompt = TRY(generation::encode(parts_.generator.card(), {.messages = &messages, .tools = &for_template_}));
    request.sampling = options_.sampling;
    const bool has_quiet = tells_of_quiet(parts_.tools, messages);
    request.grammar = TRY(grammar_for(has_quiet ? Quiet::kIncluded : Quiet::kLeftOut, without));
    request.max_tokens = std::min(most_turn_tokens(), parts_.generator.card().context_length);
    if (request.prompt.size() < parts_.generator.card().context_length) {
      request.max_tokens = std::min(request.max_tokens, parts_.generator.card().context_length - request.prompt.size());
    }
    request.deadline = began_ + options_.limits.max_seconds;
    auto sink = std::make_shared<TurnSink>(TurnReader(options_.format, signatures_), parts_.observer);
    const generation::Ticket ticket = TRY(parts_.generator.submit(std::move(request), sink));
    const std::stop_callback cancel(stop_, [&] { parts_.generator.cancel(ticket); });
    sink->wait();  // the callback must outlive the answer
    return sink;
  }

  Result<std::shared_ptr<const text::Grammar>> grammar_for(Quiet quiet, const std::set<std::string>& without) {
    if (!without.empty()) return compile(quiet, without);
    if (quiet == Quiet::kLeftOut) return grammar_;
    if (grammar_with_quiet_ == nullptr) grammar_with_quiet_ = TRY(compile(quiet));
    return grammar_with_quiet_;
  }

  // What the run has left, of which a turn may write its share; one token at least, because 0 is no bound.
  std::size_t most_turn_tokens() const {
    const std::size_t most = options_.limits.max_completion_tokens;
    const std::size_t left = most - std::min(most, report_.usage.completion_tokens);
    return std::max<std::size_t>(std::min(options_.limits.max_turn_tokens, left), 1);
  }

  // Names and numbers the calls; maps what was invented.
  std::vector<ActionCall> name_calls(std::vector<ActionCall> calls, std::vector<std::string>& renamed) {
    for (std::size_t i = 0; i < calls.size(); ++i) {
      calls[i].id = "call_" + std::to_string(parts_.context.actions().size() + i + 1);
      if (calls[i].unusable || options_.names == NameRule::kMask) continue;
      const std::string invented = calls[i].tool;
      Mapping mapped = map_call(std::move(calls[i]), parts_.tools);
      if (mapped.is_renamed) renamed.push_back(invented + " -> " + mapped.call.tool);
      calls[i] = std::move(mapped.call);
    }
    return calls;
  }

  // The tools of the calls, if each of them was carried out already and nothing but reads since: their results stand in
  // the conversation. Not those of earlier runs, since when anything may have changed, nor those that a summary may
  // stand for by now.
  std::set<std::string> repetitions(const std::vector<ActionCall>& calls) const {
    std::set<std::string> tools;
    for (const ActionCall& call : calls) {
      if (!is_repetition(call)) return {};
      tools.insert(call.tool);
    }
    return tools;
  }

  bool is_repetition(const ActionCall& call) const {
    if (call.unusable) return false;
    const auto before = known();
    for (auto action = before.rbegin(); action != before.rend(); ++action) {
      const Tool* tool = parts_.tools.find(action->call.tool);
      if (tool == nullptr || tool->description().tool_class != ToolClass::kRead) return false;
      if (is_same(action->call, call) && action->result.state == ActionState::kDone) return true;
    }
    return false;
  }

  // The actions whose results stand in the conversation.
  std::span<const Action> known() const { return std::span(parts_.context.actions()).subspan(known_from_); }

  static bool is_same(const ActionCall& one, const ActionCall& other) {
    return one.tool == other.tool && one.arguments == other.arguments;
  }

  Status act(std::vector<ActionCall> calls) {
    const base::Time began = parts_.clock.now();
    const std::vector<Action> actions = parts_.runner.run_turn(std::move(calls), parts_.context.actions(), stop_);
    report_.tool_seconds += seconds(parts_.clock.now() - began);
    report_.actions += actions.size();
    was_asked_again_ = false;
    const bool is_fruitless = std::ranges::none_of(actions, [this](const Action& done) { return is_new(done); });
    TRY(parts_.context.add_results(actions));
    if (stop_.stop_requested()) return end(RunState::kCancelled, "the run was cancelled");
    return count_turn(is_fruitless);
  }

  // Whether an action got something. What a tool changed is something each time; what it read is not when the
  // conversation had the same result of the same call before.
  bool is_new(const Action& ended) const {
    if (ended.result.is_error()) return false;
    const Tool* tool = parts_.tools.find(ended.call.tool);
    if (tool == nullptr || tool->description().tool_class != ToolClass::kRead) return true;
    return std::ranges::none_of(known(), [&](const Action& earlier) {
      return earlier.step < ended.step && is_same(earlier.call, ended.call) && earlier.result.text == ended.result.text;
    });
  }

  // A run that turns in a circle is told so once, and ended when that did not help.
  Status count_turn(bool is_fruitless) {
    fruitless_turns_ = is_fruitless ? fruitless_turns_ + 1 : 0;
    const std::size_t most = options_.limits.max_fruitless_turns;
    if (fruitless_turns_ == most) {
      return parts_.context.add_remark("Your last " + std::to_string(most) +
                                       " turns brought nothing new. Do something else, or answer with what you know.");
    }
    if (fruitless_turns_ < 2 * most) return {};
    return end(RunState::kLimit, "the limit of " + std::to_string(2 * most) + " turns that brought nothing new");
  }

  Status ask_for_less() {
    TRY(parts_.context.add_remark("That was cut at its length limit. Call a tool now, or answer in one sentence."));
    return count_turn(true);
  }

  Status answer(std::string text) {
    // A small model likes to claim success after an error: it is asked once whether that is so.
    if (parts_.context.last_calls_failed() && options_.asks_again_after_failure && !was_asked_again_) {
      was_asked_again_ = true;
      return parts_.context.add_remark(
          "The last tool call failed, so its part of the task is not done. Correct the call and try again, or, if it "
          "cannot be done, say so.");
    }
    return end(RunState::kDone, std::move(text));
  }

  std::optional<std::string> reached_limit() const {
    const RunLimits& limits = options_.limits;
    if (report_.turns >= limits.max_turns) return "the limit of " + std::to_string(limits.max_turns) + " turns";
    if (report_.actions >= limits.max_actions) return "the limit of " + std::to_string(limits.max_actions) + " actions";
    if (report_.usage.completion_tokens >= limits.max_completion_tokens) {
      return "the limit of " + std::to_string(limits.max_completion_tokens) + " tokens";
    }
    if (parts_.clock.now() - began_ >= limits.max_seconds) return limit_of_seconds();
    return std::nullopt;
  }

  std::string limit_of_seconds() const {
    return "the limit of " + std::to_string(options_.limits.max_seconds.count()) + " seconds";
  }

  static void add(generation::Usage& all, const generation::Usage& usage) {
    all.prompt_tokens += usage.prompt_tokens;
    all.cached_tokens += usage.cached_tokens;
    all.completion_tokens += usage.completion_tokens;
  }

  Status end(RunState state, std::string answer) {
    has_ended_ = true;
    report_.state = state;
    report_.answer = state == RunState::kLimit ? "stopped at " + answer : std::move(answer);
    return {};
  }

  const RunParts& parts_;
  const RunOptions& options_;
  const std::stop_token stop_;
  const std::vector<text::ToolSignature> signatures_;
  const json::Array for_template_;
  const bool has_answer_call_;
  const bool has_own_end_;
  const std::string answer_name_;
  const base::Time began_;
  std::size_t known_from_;   // actions before that are no longer in the conversation, or of another time
  std::size_t compactions_;  // of the context, when that was set
  std::shared_ptr<const text::Grammar> grammar_;
  std::shared_ptr<const text::Grammar> grammar_with_quiet_;
  RunReport report_;
  bool has_ended_ = false;
  bool was_asked_again_ = false;
  std::size_t fruitless_turns_ = 0;  // the last ones, in a row
};

}  // namespace

std::string_view run_state_name(RunState state) {
  switch (state) {
    case RunState::kDone:
      return "done";
    case RunState::kFailed:
      return "failed";
    case RunState::kLimit:
      return "limit";
    case RunState::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

std::string agent_instructions(const ToolRegistry& tools, text::ToolFormat format) {
  if (!has_answer_call(tools, format)) return "You are an agent that completes tasks. Work step by step.";
  return "You are an agent that completes tasks with tools. Each of your turns is a call. Work step by step: call a "
         "tool, read its result, go on until every part of the task is done. Never invent contents or results: get "
         "them with a tool. If a call fails, correct it and try again. When everything is done, call " +
         answer_name(tools) + " with one short sentence that holds what was asked for.";
}

json::Array shown_tools(const ToolRegistry& tools, text::ToolFormat format) {
  json::Array shown = tools.for_template();
  if (!has_answer_call(tools, format)) return shown;
  json::Object function;
  function["name"] = answer_name(tools);
  function["description"] = "Gives the answer to the user and ends the task. Only when every part of it is done.";
  function["parameters"] = answer_parameters();
  shown.push_back(json::Object{{"type", "function"}, {"function", std::move(function)}});
  return shown;
}

Result<RunReport> run_agent(const RunParts& parts, const RunOptions& options, std::stop_token stop) {
  return Run(parts, options, std::move(stop)).run();
}

}  // namespace autoglm::agent

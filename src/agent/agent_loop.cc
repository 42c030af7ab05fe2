// SPDX-License-Identifier: Apache-2.0
#include "agent/agent_loop.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <ranges>
#include <set>
#include <span>
#include <utility>

#include "agent/digest.h"
#include "agent/message.h"
#include "agent/tool_mapping.h"
#include "agent/turn_grammar.h"
#include "agent/turn_reader.h"
#include "agent/turn_rules.h"
#include "agent/turn_sink.h"
#include "agent/yes_no.h"
#include "base/json.h"
#include "base/log.h"
#include "generation/chat_prompt.h"

namespace autoglm::agent {
namespace {

constexpr std::size_t kMaxAttempts = 4;       // to ask a turn anew
constexpr std::size_t kMaxAskedBytes = 4000;  // of a task that is asked about: a longer one may hold anything
constexpr std::size_t kMaxChecks = 2;         // of answers that are held back
constexpr std::size_t kErrorBytes = 200;      // of an error that a remark repeats
constexpr float kChance = 0.7f;               // the temperature of a turn that is asked anew by chance

double seconds(base::Duration duration) { return std::chrono::duration<double>(duration).count(); }

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

std::string in_a_line(std::span<const ActionCall> calls) {
  std::string line;
  for (const ActionCall& call : calls) {
    line += (line.empty() ? "" : ", ") + call.tool + one_line(json::format(call.arguments), kErrorBytes);
  }
  return line.empty() ? "its answer" : line;
}

bool has_value(const json::Value& value) {
  if (const auto* array = value.if_array()) return std::ranges::any_of(*array, has_value);
  if (const auto* object = value.if_object()) {
    return std::ranges::any_of(*object, [](const auto& field) { return has_value(field.value()); });
  }
  return !value.is_null();
}

// Not {"found": []}.
bool tells(const ActionResult& result) {
  base::Budget budget;
  const auto value = json::parse(result.text, budget);
  return value ? has_value(*value) : result.text.find_first_not_of(" \t\r\n") != std::string::npos;
}

text::ToolGrammarOptions grammar_options(const RunOptions& options) {
  text::ToolGrammarOptions grammar;
  grammar.format = options.format;
  grammar.any_name = options.names == NameRule::kMap;
  grammar.max_thinking_bytes = options.max_thinking_bytes;
  grammar.max_calls = options.max_turn_calls;
  return grammar;
}

class Run final {
  using Quiet = TurnGrammar::Quiet;
  struct Ask {
    generation::Request request;
    bool begins_in_reasoning = false;  // its prompt ends within a thought
  };

 public:
  Run(const RunParts& parts, const RunOptions& options, std::stop_token stop)
      : parts_(parts),
        options_(options),
        stop_(std::move(stop)),
        grammar_(parts.tools, options.aids, grammar_options(options), parts.generator.card().tokenizer),
        for_template_(shown_tools(parts.tools, options.format, options.aids)),
        rules_(parts.tools, options.aids, grammar_.has_answer_call() ? grammar_.answer() : "", parts.context.task()),
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
    // A schema that cannot be honoured is told before anything is asked.
    (void)TRY(grammar_.grammar(Quiet::kLeftOut, {}));
    if (const auto& given = parts_.context.answer()) TRY(answer(*given));
    if (auto calls = parts_.context.unbegun_calls(); !has_ended_ && !calls.empty()) TRY(act(std::move(calls)));
    if (!has_ended_) {
      if (Status status = narrow(); !status) TRY(end_by(std::move(status).error()));
    }
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

  // A task that only asks gets no tool that changes something. One that follows others in its session may mean
  // anything.
  Status narrow() {
    const std::string& task = parts_.context.task();
    const bool is_asked = options_.aids.narrow && grammar_.has_answer_call() && options_.names == NameRule::kMask &&
                          parts_.context.is_first_run() && task.size() <= kMaxAskedBytes &&
                          std::ranges::any_of(parts_.tools.tools(), [](const auto& tool) {
                            return tool->description().tool_class == ToolClass::kWrite;
                          });
    if (!is_asked || rules_.is_told_to_change()) return {};
    generation::Request request =
        TRY(yes_no_question(parts_.generator.card(), {}, nullptr,
                            "Here is a task:\n" + task +
                                "\n\nDoes it ask to change something: to create, write, add, edit, move, rename or "
                                "delete anything?"));
    TurnReport question;
    const ReadTurn read = TRY(say(std::move(request), question, nullptr));
    report_.is_narrowed = says_no(read.text);  // when in doubt it changes something
    if (report_.is_narrowed) rules_.narrow();
    return {};
  }

  Status take_turn() {
    if (stop_.stop_requested()) return end(RunState::kCancelled, "the run was cancelled");
    if (const auto limit = reached_limit()) return end(RunState::kLimit, *limit);
    TurnReport turn;
    turn.turn = report_.turns + 1;
    Objection first;
    const bool has_all = TRY(is_over());
    if (has_all) first.without = rules_.all_but_answer();
    std::optional<std::string> final;
    ReadTurn read = TRY(decide(turn, first, final));
    std::set<std::string> without;
    for (std::size_t attempt = 0; attempt < kMaxAttempts && !has_all; ++attempt) {
      auto objection = TRY(object_to(read, final.has_value(), attempt));
      if (!objection) break;
      // What one objection took away does not come back by the next. At last there is the answer.
      without.merge(std::move(objection->without));
      const bool is_last = attempt + 1 == kMaxAttempts || !rules_.leaves_something(without);
      objection->without = is_last && grammar_.has_answer_call() ? rules_.all_but_answer() : without;
      ++turn.asked_anew;
      ++report_.asked_anew;
      LOG_DEBUG("turn {} is asked anew{}, because of {}; without {}", turn.turn,
                objection->is_by_chance ? " by chance" : "", in_a_line(read.calls),
                fmt::join(objection->without, ", "));
      read = TRY(decide(turn, *objection, final));
      if (is_last) break;
    }
    ++report_.turns;
    const bool is_cut = read.is_cut && !final;  // an answer that is whole is one, whatever was to follow
    turn.text = final && read.calls.empty() ? std::move(*final) : std::move(read.text);
    turn.reasoning = std::move(read.reasoning);
    turn.calls = name_calls(std::move(read.calls), turn.renamed);
    parts_.observer.on_turn(turn);
    TRY(parts_.context.add_turn(turn.text, turn.calls));
    if (!turn.calls.empty()) return act(std::move(turn.calls));
    if (is_cut) return ask_for_less();
    return answer(std::move(turn.text));
  }

  // One answer of the model to the conversation, under an objection to the one before. `final`: the answer that it
  // gives, if it gives one.
  Result<ReadTurn> decide(TurnReport& turn, const Objection& objection, std::optional<std::string>& final) {
    Ask ask = TRY(request_for(objection));
    ReadTurn read = TRY(say(std::move(ask.request), turn, &parts_.observer, ask.begins_in_reasoning));
    turn.renamed = rules_.mend(read.calls, known());
    final = take_answer(read);
    report_.invalid_calls += read.invalid_calls;  // also those of a turn that comes to count for nothing
    return read;
  }

  // What the model says; waits for its end.
  Result<ReadTurn> say(generation::Request request, TurnReport& turn, RunObserver* observer,
                       bool begins_in_reasoning = false) {
    const base::Time began = parts_.clock.now();
    request.id = "run-" + std::to_string(parts_.context.run());
    request.session = parts_.context.session();
    request.deadline = began_ + options_.limits.max_seconds;
    const auto wants = [this](std::span<const ActionCall> calls, TurnSink::Last last) {
      if (last == TurnSink::Last::kComplete) return rules_.wants(calls, known());
      return calls.size() == 1 || calls.back().tool != grammar_.answer();  // to calls whose results it does not know
    };
    auto sink = std::make_shared<TurnSink>(TurnReader(options_.format, grammar_.signatures(), begins_in_reasoning),
                                           observer, wants);
    const generation::Ticket ticket = TRY(parts_.generator.submit(std::move(request), sink));
    const std::stop_callback cancel(stop_, [&] { parts_.generator.cancel(ticket); });
    const bool is_enough = sink->wait_for_enough();
    if (is_enough) parts_.generator.cancel(ticket);
    const generation::Finish finish = sink->wait();
    turn.seconds += seconds(parts_.clock.now() - began);
    report_.model_seconds += seconds(parts_.clock.now() - began);
    if (turn.asked_anew == 0) turn.usage = {finish.usage.prompt_tokens, finish.usage.cached_tokens, 0};
    turn.usage.completion_tokens += finish.usage.completion_tokens;
    add(report_.usage, finish.usage);
    const bool was_ours = is_enough && !stop_.stop_requested();  // the cancel
    if (finish.error && !(was_ours && finish.error->code == Code::kCancelled)) return std::unexpected(*finish.error);
    return sink->reader().finish(finish.reason == generation::FinishReason::kLength);
  }

  // By the rules, and by the model's own word of whether it has what it needs.
  Result<std::optional<Objection>> object_to(ReadTurn& read, bool is_answer, std::size_t attempt) {
    auto objection = rules_.object_to(read, is_answer, known(), attempt);
    if (!grammar_.has_answer_call()) return objection;
    if (objection && objection->is_of_results && TRY(has_enough())) objection->without = rules_.all_but_answer();
    const bool is_checked = !objection && is_answer && read.calls.empty() && options_.aids.check &&
                            checks_ < kMaxChecks && !known().empty();
    if (!is_checked || TRY(has_enough())) return objection;
    ++checks_;
    return Objection{.without = {grammar_.answer()}};
  }

  // A task that only asks is over when its results are enough: a small model would look on, and answer from what it saw
  // last.
  Result<bool> is_over() {
    if (!report_.is_narrowed || !options_.aids.check || !has_news_ || !rules_.has_seen_all(known())) return false;
    return has_enough();
  }

  // Whether the results are all that the task asks for.
  Result<bool> has_enough() {
    json::Array messages = TRY(parts_.context.window());
    generation::Request request =
        TRY(yes_no_question(parts_.generator.card(), std::move(messages), &for_template_,
                            "Look at the results so far. Is everything that the task asks for done or in them?"));
    TurnReport question;
    return says_yes(TRY(say(std::move(request), question, nullptr)).text);
  }

  // Takes the calls that give the answer out. One beside calls whose results it does not know is of no use.
  std::optional<std::string> take_answer(ReadTurn& read) const {
    std::optional<std::string> text;
    if (grammar_.answer().empty()) return text;
    const std::string_view key = grammar_.answer_key();
    for (ActionCall& call : read.calls) {
      if (call.tool != grammar_.answer() || call.unusable) continue;
      const json::Value* given = call.arguments.if_contains(key);
      if (const json::Value* why = call.arguments.if_contains("reasoning"); why != nullptr && why->is_string()) {
        read.reasoning += why->get_string();
      }
      if (given != nullptr && given->is_string() && !given->get_string().empty()) {
        text = std::string(given->get_string());
        continue;
      }
      call.unusable =
          Error{Code::kInvalidArgument, grammar_.answer() + " wants {\"" + std::string(key) + "\": \"...\"}", {}};
      ++read.invalid_calls;
    }
    std::erase_if(read.calls, [&](const ActionCall& call) { return call.tool == grammar_.answer() && !call.unusable; });
    return text;
  }

  // The prompt of this turn.
  Result<Ask> request_for(const Objection& objection) {
    const json::Array messages = TRY(parts_.context.window());
    if (std::exchange(compactions_, parts_.context.compactions()) != parts_.context.compactions()) {
      known_from_ = parts_.context.actions().size();
    }
    Ask ask;
    generation::Request& request = ask.request;
    const generation::ModelCard& card = parts_.generator.card();
    const generation::ChatPrompt prompt = {.messages = &messages, .tools = &for_template_};
    if (options_.max_thinking_bytes == 0) {
      request.prompt = TRY(generation::encode_without_reasoning(card, prompt));
    } else {
      const text::RenderedPrompt rendered = TRY(generation::render(card, prompt));
      ask.begins_in_reasoning = generation::ends_in_reasoning(rendered.text);
      request.prompt = TRY(generation::encode(card, rendered));
    }
    request.keep_special_text = true;  // some vocabularies have the markers of calls among their special tokens
    request.sampling = options_.sampling;
    if (objection.is_by_chance) {
      request.sampling.temperature = std::max(request.sampling.temperature, kChance);
      request.sampling.seed = report_.turns;  // the same run comes out the same
    }
    const bool has_quiet = tells_of_quiet(parts_.tools, messages);
    std::set<std::string> without = rules_.withheld();
    without.insert(objection.without.begin(), objection.without.end());
    const Quiet quiet = has_quiet ? Quiet::kIncluded : Quiet::kLeftOut;
    request.grammar = TRY(grammar_.grammar(quiet, without, ask.begins_in_reasoning));
    request.max_tokens = std::min(most_turn_tokens(), card.context_length);
    if (request.prompt.size() < card.context_length) {
      request.max_tokens = std::min(request.max_tokens, card.context_length - request.prompt.size());
    }
    return ask;
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

  // The actions whose results stand in the conversation.
  std::span<const Action> known() const { return std::span(parts_.context.actions()).subspan(known_from_); }

  Status act(std::vector<ActionCall> calls) {
    const base::Time began = parts_.clock.now();
    const TurnBounds left = {.max_actions = options_.limits.max_actions - report_.actions,
                             .max_time = began_ + options_.limits.max_seconds - began};
    const std::vector<Action> actions = parts_.runner.run_turn(std::move(calls), parts_.context.actions(), stop_, left);
    report_.tool_seconds += seconds(parts_.clock.now() - began);
    report_.actions += actions.size();
    was_asked_again_ = false;
    const bool is_fruitless = std::ranges::none_of(actions, [this](const Action& done) { return is_new(done); });
    has_news_ = std::ranges::any_of(actions, [this](const Action& done) { return is_new(done) && tells(done.result); });
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
      return earlier.step < ended.step && is_same_call(earlier.call, ended.call) &&
             earlier.result.text == ended.result.text;
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
    // A small model likes to claim success after an error: it is asked once whether that is so. Where nothing is to be
    // changed, a look in vain beside another one is no failure.
    const bool has_result = std::ranges::any_of(known(), [](const Action& done) { return !done.result.is_error(); });
    const bool has_failed = parts_.context.last_calls_failed() && !(report_.is_narrowed && has_result);
    if (has_failed && options_.aids.failures && !was_asked_again_) {
      was_asked_again_ = true;
      return parts_.context.add_remark(last_error() +
                                       " So that part of the task is not done. "
                                       "Call it again with other arguments, or, if it cannot be done, say so.");
    }
    return end(RunState::kDone, std::move(text));
  }

  // In a line: "The last call of move_file failed: no such file."
  std::string last_error() const {
    for (const Action& action : std::views::reverse(known())) {
      if (!action.result.is_error()) continue;
      std::string why = one_line(action.result.text, kErrorBytes);
      if (!why.ends_with('.')) why += '.';
      return "The last call of " + action.call.tool + " failed: " + why;
    }
    return "The last tool call failed.";
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
  TurnGrammar grammar_;
  const json::Array for_template_;
  TurnRules rules_;
  const base::Time began_;
  std::size_t known_from_;   // actions before that are no longer in the conversation, or of another time
  std::size_t compactions_;  // of the context, when that was set
  RunReport report_;
  bool has_ended_ = false;
  bool was_asked_again_ = false;
  bool has_news_ = false;            // the last turn brought something
  std::size_t checks_ = 0;           // of an answer, that the model itself did not find complete
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

json::Array shown_tools(const ToolRegistry& tools, text::ToolFormat format, const Aids& aids) {
  json::Array shown = tools.for_template();
  if (!has_answer_call(tools, format)) return shown;
  json::Object function;
  function["name"] = answer_name(tools);
  function["description"] = "Gives the answer to the user and ends the task. Only when every part of it is done.";
  function["parameters"] = answer_parameters(aids);
  shown.push_back(json::Object{{"type", "function"}, {"function", std::move(function)}});
  return shown;
}

Result<RunReport> run_agent(const RunParts& parts, const RunOptions& options, std::stop_token stop) {
  return Run(parts, options, std::move(stop)).run();
}

}  // namespace autoglm::agent

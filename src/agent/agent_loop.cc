// SPDX-License-Identifier: Apache-2.0
#include "agent/agent_loop.h"

#include <algorithm>
#include <condition_variable>
#include <utility>

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

std::vector<text::ToolSignature> signatures_of(const ToolRegistry& tools) {
  std::vector<text::ToolSignature> signatures;
  for (const auto& tool : tools.tools()) {
    signatures.push_back({tool->description().name, tool->description().parameters});
  }
  return signatures;
}

class Run final {
 public:
  Run(const RunParts& parts, const RunOptions& options, std::stop_token stop)
      : parts_(parts),
        options_(options),
        stop_(std::move(stop)),
        signatures_(signatures_of(parts.tools)),
        for_template_(parts.tools.for_template()),
        began_(parts.clock.now()) {}

  Result<RunReport> run() {
    TRY(prepare());
    while (!has_ended_) {
      if (Status status = take_turn(); !status) {
        if (report_.turns == 0) return std::unexpected(std::move(status).error());
        end(status.error().code == Code::kCancelled ? RunState::kCancelled : RunState::kFailed, status.error().message);
      }
    }
    report_.seconds = seconds(parts_.clock.now() - began_);
    TRY(parts_.context.end(run_state_name(report_.state), report_.answer));
    return std::move(report_);
  }

 private:
  Status prepare() {
    text::ToolGrammarOptions grammar;
    grammar.format = options_.format;
    grammar.choice = text::ToolChoice::kDecide;
    grammar.any_name = options_.names == NameRule::kMap;
    grammar.max_thinking_bytes = options_.max_thinking_bytes;
    grammar_ = TRY(text::tool_grammar(signatures_, grammar, parts_.generator.card().tokenizer));
    return {};
  }

  Status take_turn() {
    if (const auto limit = reached_limit()) return end(RunState::kLimit, *limit);
    const base::Time began = parts_.clock.now();
    TurnReport turn;
    turn.turn = report_.turns + 1;
    auto sink = TRY(ask());
    const generation::Finish finish = sink->wait();
    turn.seconds = seconds(parts_.clock.now() - began);
    report_.model_seconds += turn.seconds;
    turn.usage = finish.usage;
    count(finish.usage);
    if (finish.error) return std::unexpected(*finish.error);
    ++report_.turns;
    ReadTurn read = sink->reader().finish(finish.reason == generation::FinishReason::kLength);
    report_.invalid_calls += read.invalid_calls;
    turn.text = std::move(read.text);
    turn.calls = name_calls(std::move(read.calls), turn.renamed);
    parts_.observer.on_turn(turn);
    TRY(parts_.context.add_turn(turn.text, turn.calls));
    if (turn.calls.empty()) return answer(std::move(turn.text));
    return act(std::move(turn.calls));
  }

  // The prompt of this turn, submitted.
  Result<std::shared_ptr<TurnSink>> ask() {
    const json::Array messages = TRY(parts_.context.window());
    generation::Request request;
    request.id = "run-" + std::to_string(parts_.context.run());
    request.session = parts_.context.session();
    request.prompt = TRY(generation::encode(parts_.generator.card(), {.messages = &messages, .tools = &for_template_}));
    request.sampling = options_.sampling;
    request.grammar = grammar_;
    request.max_tokens = std::min(options_.limits.max_turn_tokens, parts_.generator.card().context_length);
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

  Status act(std::vector<ActionCall> calls) {
    const base::Time began = parts_.clock.now();
    const std::vector<Action> actions = parts_.runner.run_turn(std::move(calls), parts_.context.actions(), stop_);
    report_.tool_seconds += seconds(parts_.clock.now() - began);
    report_.actions += actions.size();
    last_turn_failed_ = std::ranges::any_of(actions, [](const Action& action) { return action.result.is_error(); });
    was_asked_again_ = false;
    TRY(parts_.context.add_results(actions));
    if (stop_.stop_requested()) return end(RunState::kCancelled, "the run was cancelled");
    return {};
  }

  Status answer(std::string text) {
    // A small model likes to claim success after an error: it is asked once whether that is so.
    if (last_turn_failed_ && options_.asks_again_after_failure && !was_asked_again_) {
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
    if (parts_.clock.now() - began_ >= limits.max_seconds) {
      return "the limit of " + std::to_string(limits.max_seconds.count()) + " seconds";
    }
    return std::nullopt;
  }

  void count(const generation::Usage& usage) {
    report_.usage.prompt_tokens += usage.prompt_tokens;
    report_.usage.cached_tokens += usage.cached_tokens;
    report_.usage.completion_tokens += usage.completion_tokens;
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
  const base::Time began_;
  std::shared_ptr<const text::Grammar> grammar_;
  RunReport report_;
  bool has_ended_ = false;
  bool last_turn_failed_ = false;
  bool was_asked_again_ = false;
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

std::string agent_instructions() {
  return "You are an agent that completes tasks with tools. Work step by step: call a tool, read its result, go on "
         "until "
         "every part of the task is done. Never invent file contents or results: read them with a tool. If a call "
         "fails, "
         "correct it and try again. When everything is done, answer in one short sentence that holds what was asked "
         "for.";
}

Result<RunReport> run_agent(const RunParts& parts, const RunOptions& options, std::stop_token stop) {
  return Run(parts, options, std::move(stop)).run();
}

}  // namespace autoglm::agent

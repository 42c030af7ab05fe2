// SPDX-License-Identifier: Apache-2.0
#include "server/response_run.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "generation/chat_prompt.h"
#include "generation/text_sink.h"
#include "protocol/openai_tools.h"
#include "protocol/response_items.h"
#include "store/response_store.h"

namespace autoglm::server {
namespace {

using protocol::ApiError;

// A tool's result, at most: half a byte for each token of the context, within these. That is an eighth of it at four
// bytes a token, and never all of it.
constexpr std::size_t kLeastResultBytes = 1u << 10;
constexpr std::size_t kMostResultBytes = 64u << 10;

agent::ActionLimits action_limits(const generation::ModelCard& card) {
  agent::ActionLimits limits;
  limits.max_result_bytes = std::clamp(card.context_length / 2, kLeastResultBytes, kMostResultBytes);
  limits.has_references = false;  // what a client was shown, and said yes to, is what runs
  return limits;
}

void take_arguments(agent::ActionCall& call, std::string_view text) {
  auto arguments = protocol::parse_arguments(text);
  if (arguments) {
    call.arguments = std::move(*arguments);
  } else {
    call.unusable = std::move(arguments).error();
  }
}

protocol::ResponseHead head_of(const Service& service, const ResponseJob& job) {
  return {.id = "resp_" + job.id,
          .model = job.model->card().name,
          .created = service.clock.unix_seconds(),
          .echo = job.request.echo};
}

ApiResult<void> check_approved(const protocol::Conversation& conversation, const ResponseToolSet& tools) {
  for (const protocol::ApprovedCall& call : conversation.approved) {
    const ResponseTool* tool = tools.find(call.server_label, call.name);
    if (tool != nullptr && !tool->is_function()) continue;
    return std::unexpected(ApiError(Error{Code::kInvalidArgument,
                                          "an mcp_approval_response is about " + call.name + " of " +
                                              call.server_label + ", which is not among the tools of this request",
                                          "tools"}));
  }
  return {};
}

ResponseOutput::OnEvent events_to(const std::shared_ptr<ResponseStream>& stream) {
  if (stream == nullptr) return {};
  return [stream](std::string_view type, json::Object fields) { stream->push(type, std::move(fields)); };
}

}  // namespace

ResponseRun::ResponseRun(Service& service, ResponseJob job, std::shared_ptr<Reply> reply, std::stop_source stop)
    : service_(service),
      job_(std::move(job)),
      reply_(std::move(reply)),
      stream_(job_.request.stream ? std::make_shared<ResponseStream>(reply_, service.options.max_unread_bytes,
                                                                     [stop]() mutable { stop.request_stop(); })
                                  : nullptr),
      head_(head_of(service, job_)),
      limits_(agent::RunLimits{}),
      began_(service.clock.now()),
      prompts_(job_),
      output_(job_.id, events_to(stream_)) {}

ResponseRun::~ResponseRun() = default;

ApiResult<void> ResponseRun::prepare() {
  auto read = prompts_.conversation(output_.items());
  if (!read) return std::unexpected(read.error());
  first_ = std::move(*read);
  if (auto good = check_approved(*first_, job_.tools); !good) return good;
  auto turn = prompts_.next(first_->messages, turns_, may_call_on());
  if (!turn) return std::unexpected(turn.error());
  // What was approved is run first, and then the conversation is another one.
  if (first_->approved.empty()) first_turn_ = std::move(*turn);
  return {};
}

bool ResponseRun::may_call_on() const {
  const std::size_t most = job_.request.max_tool_calls.value_or(limits_.max_actions);
  return !job_.tools.has_own() || (turns_ + 1 < limits_.max_turns && own_calls_ < most);
}

// --- the loop --------------------------------------------------------------------------------------------------------

std::string ResponseRun::run(std::stop_token stop) {
  stop_ = std::move(stop);
  try {
    if (auto made = make(); !made) {
      if (stop_.stop_requested() || made.error().error.code == Code::kCancelled) {
        end("cancelled");
      } else {
        end("failed");
        state_.error = made.error();
      }
    }
  } catch (const std::exception& thrown) {
    end("failed");
    state_.error = Error{Code::kInternal, thrown.what(), {}};
  }
  json::Object response = finished_object();
  keep(response);
  service_.runs.end(head_.id);
  answer(response);
  return json::format(response);
}

json::Object ResponseRun::so_far() const { return protocol::response_object(head_, {}); }

ApiResult<void> ResponseRun::make() {
  if (stream_ != nullptr) {
    reply_->stream(stream_);
    stream_->push("response.created", {{"response", so_far()}});
    stream_->push("response.in_progress", {{"response", so_far()}});
  }
  for (const std::string& label : job_.tools.labels()) {
    if (std::ranges::find(first_->listed, label) != first_->listed.end()) continue;
    output_.list_tools(label, job_.tools.listed(label));
  }
  run_approved();
  while (!has_ended_) {
    if (stop_.stop_requested()) {
      end("cancelled");
    } else if (auto taken = take_turn(); !taken) {
      return taken;
    }
  }
  return {};
}

void ResponseRun::run_approved() {
  std::vector<agent::ActionCall> calls;
  for (const protocol::ApprovedCall& approved : first_->approved) {
    const ResponseTool& tool = *job_.tools.find(approved.server_label, approved.name);
    at_work_.push_back(output_.approved_call(tool, approved.arguments, approved.request));
    agent::ActionCall& call = calls.emplace_back();
    call.id = output_.id_of(at_work_.back());
    call.tool = tool.own->name;
    take_arguments(call, approved.arguments);
  }
  run_calls(std::move(calls));
}

ApiResult<void> ResponseRun::take_turn() {
  if (job_.tools.has_own() && service_.clock.now() - began_ >= limits_.max_seconds) {
    return std::unexpected(ApiError(Error{
        Code::kDeadline, "the response took longer than " + std::to_string(limits_.max_seconds.count()) + " s", {}}));
  }
  ResponseTurn turn;
  if (first_turn_) {
    turn = std::move(*std::exchange(first_turn_, {}));
  } else {
    auto read = prompts_.conversation(output_.items());
    if (!read) return std::unexpected(read.error());
    auto made = prompts_.next(read->messages, turns_, may_call_on());
    if (!made) return std::unexpected(made.error());
    turn = std::move(*made);
  }
  calls_.clear();
  reasoning_.clear();
  output_.begin_turn();
  auto finish = generate(turn);
  ++turns_;
  if (!finish) return std::unexpected(finish.error());
  usage_.prompt_tokens += turn.prompt.size();
  usage_.cached_tokens += finish->usage.cached_tokens;
  usage_.completion_tokens += finish->usage.completion_tokens;
  usage_.reasoning_tokens += reasoning_tokens();
  const bool is_cut = finish->reason == generation::FinishReason::kLength;
  if (is_cut) output_.cut();
  output_.end_turn();
  if (finish->error) return std::unexpected(ApiError(*finish->error));
  const bool goes_on = act(is_cut);
  if (is_cut) {
    end("incomplete", "max_output_tokens");
  } else if (!goes_on) {
    end(stop_.stop_requested() ? "cancelled" : "completed");
  }
  return {};
}

// Of the turn's answer, counted by its text: without the markers around it.
std::size_t ResponseRun::reasoning_tokens() const {
  if (reasoning_.empty()) return 0;
  const auto ids = generation::encode(job_.model->card(), reasoning_, {.add_special = false});
  return ids ? ids->size() : 0;
}

// What the answer may still have; 0 = nothing.
std::size_t ResponseRun::token_room(std::size_t prompt_tokens) const {
  const std::size_t context = job_.model->card().context_length;
  std::size_t most = protocol::kMaxAnswerValues;
  if (job_.tools.has_own()) most = limits_.max_completion_tokens;
  most = job_.request.max_output_tokens.value_or(most);
  return std::min(context - prompt_tokens, most - std::min(most, usage_.completion_tokens));
}

ApiResult<generation::Finish> ResponseRun::generate(const ResponseTurn& turn) {
  generation::Request request;
  request.id = job_.request_id;
  request.prompt = turn.prompt;
  request.sampling.temperature = static_cast<float>(job_.request.temperature);
  request.sampling.top_p = static_cast<float>(job_.request.top_p);
  request.max_tokens = token_room(turn.prompt.size());
  request.grammar = turn.grammar;
  request.keep_special_text = turn.has_tools;  // some vocabularies have the markers of calls among their special tokens
  request.tenant = job_.tenant;
  if (job_.tools.has_own()) request.deadline = began_ + limits_.max_seconds;
  if (request.max_tokens == 0) return generation::Finish{.reason = generation::FinishReason::kLength};

  std::unique_ptr<text::ToolCallParser> parser;
  if (turn.has_tools) {
    const std::span<const text::ToolSignature> tools = job_.tools.signatures();
    parser = text::ToolCallParser::make(
        job_.model->card().tool_format,
        {.reads_json = !turn.is_answer_json || (turn.may_call && reads_json_calls(job_.request.format)),
         .begins_in_reasoning = turn.begins_in_reasoning,
         .is_answer_json = turn.is_answer_json,
         .tools = turn.may_call ? tools : tools.first(0)});
  }
  const auto sink = std::make_shared<generation::TextSink>();
  auto ticket = job_.model->generator.submit(std::move(request), sink);
  if (!ticket) return std::unexpected(ApiError(std::move(ticket).error()));
  const std::stop_callback on_stop(stop_, [this, ticket = *ticket] { job_.model->generator.cancel(ticket); });
  for (;;) {
    auto [text, finish] = sink->wait();
    parser != nullptr ? read(parser->push(text)) : output_.text(text);
    if (!finish) continue;
    if (parser != nullptr) read(parser->finish());
    return std::move(*finish);
  }
}

void ResponseRun::read(const std::vector<text::ToolEvent>& events) {
  using Kind = text::ToolEvent::Kind;
  for (const text::ToolEvent& event : events) {
    switch (event.kind) {
      case Kind::kText:
        output_.text(event.text);
        break;
      case Kind::kReasoning:
        reasoning_ += event.text;
        output_.reasoning(event.text);
        break;
      case Kind::kCallBegin:
        begin_call(event.text);
        break;
      case Kind::kArguments:
        calls_.back().tool == nullptr ? output_.text(event.text) : output_.arguments(event.text);
        break;
      case Kind::kCallEnd:
        end_call();
        break;
      case Kind::kBroken:
        // What the client already knows as a call stays one, cut; what never became one was text.
        if (event.call < calls_.size()) {
          calls_[event.call].is_broken = true;
          output_.cut();
        } else {
          output_.text(event.text);
        }
        break;
    }
  }
}

void ResponseRun::begin_call(const std::string& name) {
  TurnCall& call = calls_.emplace_back();
  call.tool = job_.tools.find(name);
  // The grammar knows no other names; should one come all the same, it is text.
  if (call.tool == nullptr) return output_.text(name);
  call.call.tool = name;
  call.index = output_.begin_call(*call.tool);
  call.call.id = output_.id_of(call.index);
}

void ResponseRun::end_call() {
  if (calls_.back().tool == nullptr) return;
  output_.end_call();
  take_arguments(calls_.back().call, output_.arguments_of_last());
}

// Runs what may be run of this turn's calls. True when the model is to go on with their results.
bool ResponseRun::act(bool is_cut) {
  bool has_functions = false;
  bool waits_for_leave = false;
  bool has_own = false;
  std::vector<agent::ActionCall> runnable;
  for (TurnCall& call : calls_) {
    if (call.is_broken || call.tool == nullptr) continue;
    has_functions = has_functions || call.tool->is_function();
    waits_for_leave = waits_for_leave || call.tool->asks;
    if (call.tool->is_function() || call.tool->asks) continue;
    has_own = true;
    if (const std::string reason = reason_not_to_run(is_cut, waits_for_leave, runnable.size()); !reason.empty()) {
      output_.end_own_call(call.index, "It was not run: " + reason, true);
      continue;
    }
    at_work_.push_back(call.index);
    runnable.push_back(std::move(call.call));
  }
  run_calls(std::move(runnable));
  return has_own && !has_functions && !waits_for_leave && !is_cut && !stop_.stop_requested();
}

std::string ResponseRun::reason_not_to_run(bool is_cut, bool waits_for_leave, std::size_t runnable) const {
  if (is_cut) return "the answer reached its limit of tokens.";
  // A turn comes out as if its calls had run one by one.
  if (waits_for_leave) return "a call before it waits for the user's leave. Call it again afterwards.";
  const std::size_t most = job_.request.max_tool_calls.value_or(limits_.max_actions);
  if (own_calls_ + runnable >= most) return "this is the limit of " + std::to_string(most) + " calls.";
  return {};
}

void ResponseRun::run_calls(std::vector<agent::ActionCall> calls) {
  if (calls.empty()) return;
  own_calls_ += calls.size();
  if (runner_ == nullptr) {
    // Who is to be asked has been asked.
    const auto allow = [](const auto&...) { return agent::Decision{agent::Verdict::kAllow, {}}; };
    runner_ =
        agent::make_action_runner(*service_.tools, action_limits(job_.model->card()), allow, *this, service_.clock);
  }
  runner_->run_turn(std::move(calls), {}, stop_, {.max_time = began_ + limits_.max_seconds - service_.clock.now()});
  at_work_.clear();
}

void ResponseRun::on_result(const agent::Action& action) {
  const auto is_it = [&](std::size_t index) { return output_.id_of(index) == action.call.id; };
  const auto found = std::ranges::find_if(at_work_, is_it);
  CHECK(found != at_work_.end()) << action.call.id;
  output_.end_own_call(*found, action.result.text, action.result.is_error());
}

// --- its end ---------------------------------------------------------------------------------------------------------

void ResponseRun::end(std::string_view status, std::string_view reason) {
  has_ended_ = true;
  state_.status = status;
  state_.incomplete_reason = reason;
}

json::Object ResponseRun::finished_object() {
  output_.end();
  state_.output = output_.items();
  state_.usage = usage_;
  return protocol::response_object(head_, state_);
}

// Before anybody hears of its end, so that what goes on from it finds it. What a client cannot name is not kept.
void ResponseRun::keep(json::Object& response) {
  const bool is_answered =
      stream_ != nullptr || own_calls_ > 0 || state_.status == "completed" || state_.status == "incomplete";
  if (!job_.request.store || !is_answered) return;
  const auto kept = service_.responses.put({.id = head_.id,
                                            .tenant = job_.tenant,
                                            .previous = job_.request.previous,
                                            .input = json::format(job_.input),
                                            .response = json::format(response)});
  if (kept) return;
  LOG_ERROR("response {} could not be stored: {}", head_.id, kept.error().message);
  response["store"] = false;
}

void ResponseRun::answer(const json::Object& response) {
  const bool is_good = state_.status == "completed" || state_.status == "incomplete";
  if (stream_ != nullptr) {
    if (state_.error) reply_->fail_stream(*state_.error);
    const std::string_view word = is_good ? state_.status : "failed";
    stream_->push("response." + std::string(word), {{"response", response}});
    return stream_->finish();
  }
  // What was done for it must not get lost with an error.
  if (is_good || own_calls_ > 0) return reply_->json(json::format(response));
  reply_->fail(state_.error ? *state_.error : ApiError(Error{Code::kCancelled, "the request was cancelled", {}}));
}

}  // namespace autoglm::server

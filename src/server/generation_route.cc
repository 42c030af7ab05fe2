// SPDX-License-Identifier: Apache-2.0
// From parameters to submitted requests.
#include "server/generation_route.h"

#include <algorithm>
#include <limits>

#include "generation/chat_prompt.h"
#include "server/answer.h"

namespace autoglm::server {
namespace {

using protocol::ApiError;

// Prompt and answer must fit together; both figures are told.
ApiResult<void> check_context(const ServedModel& model, const GenerationCall& generation) {
  const std::size_t context = model.card().context_length;
  for (const auto& prompt : generation.prompts) {
    if (prompt.empty()) return std::unexpected(Error{Code::kInvalidArgument, "the prompt is empty", "prompt"});
    const std::size_t answer = generation.parameters.max_tokens.value_or(1);
    if (prompt.size() <= context && answer <= context - prompt.size()) continue;
    const std::string asked =
        generation.parameters.max_tokens ? " and max_tokens asks for " + std::to_string(answer) + " more" : "";
    return std::unexpected(prompt_too_long(model.card(), std::to_string(prompt.size()), asked,
                                           generation.kind == protocol::AnswerKind::kChat ? "messages" : "prompt"));
  }
  return {};
}

// Sequences that never fit together are refused for good; those that do not fit now are told to come again.
ApiResult<void> check_sequences(const ServedModel& model, const GenerationCall& generation) {
  const std::size_t n = generation.parameters.n;
  const std::size_t prompts = generation.prompts.size();
  const std::size_t most = model.card().max_in_flight;
  if (n * prompts <= most) return {};
  return std::unexpected(Error{Code::kInvalidArgument,
                               "n times the prompts is " + std::to_string(n * prompts) +
                                   ", but this server takes at most " + std::to_string(most) + " sequences at once",
                               n > 1 ? "n" : "prompt"});
}

// What one request may be answered with is bounded. Who did not say how long an answer may be gets one that keeps the
// bound.
ApiResult<void> bound_answer(const ServedModel& model, GenerationCall& generation) {
  protocol::Parameters& parameters = generation.parameters;
  std::size_t longest_prompt = 0;
  for (const auto& prompt : generation.prompts) longest_prompt = std::max(longest_prompt, prompt.size());
  const std::size_t sequences = generation.prompts.size() * parameters.n;
  const std::size_t echoed = generation.is_echoed ? longest_prompt : 0;
  if (!parameters.max_tokens) {
    const std::size_t room = model.card().context_length - longest_prompt;
    const std::size_t most = protocol::kMaxAnswerValues / (sequences * (1 + parameters.top_logprobs));
    if (most < echoed + room && most > echoed) parameters.max_tokens = most - echoed;
    if (most > echoed) return {};
  }
  auto size =
      protocol::check_answer_size(sequences, echoed + parameters.max_tokens.value_or(1), parameters.top_logprobs);
  if (!size) return std::unexpected(ApiError(size.error()));
  return {};
}

generation::Sampling sampling_of(const protocol::Parameters& parameters) {
  generation::Sampling sampling;
  sampling.temperature = static_cast<float>(parameters.temperature);
  sampling.top_k = parameters.top_k;
  sampling.top_p = static_cast<float>(parameters.top_p);
  sampling.min_p = static_cast<float>(parameters.min_p);
  sampling.repetition_penalty = static_cast<float>(parameters.repetition_penalty);
  sampling.frequency_penalty = static_cast<float>(parameters.frequency_penalty);
  sampling.presence_penalty = static_cast<float>(parameters.presence_penalty);
  sampling.logit_bias = parameters.logit_bias;
  return sampling;
}

std::vector<generation::Request> requests_of(const Call& call, const GenerationCall& generation,
                                             const std::shared_ptr<const text::Grammar>& grammar) {
  const protocol::Parameters& parameters = generation.parameters;
  std::vector<generation::Request> requests;
  for (std::size_t p = 0; p < generation.prompts.size(); ++p) {
    for (std::size_t i = 0; i < parameters.n; ++i) {
      generation::Request request;
      request.id = call.id;
      request.prompt = generation.prompts[p];
      request.sampling = sampling_of(parameters);
      if (parameters.seed) request.sampling.seed = *parameters.seed + i;  // choices differ, and each can be had alone
      request.max_tokens = parameters.max_tokens.value_or(0);
      request.prompt_only = parameters.max_tokens == std::size_t{0};
      request.min_tokens = parameters.min_tokens;
      request.stop = parameters.stop;
      request.stop_tokens = parameters.stop_token_ids;
      request.ignore_eos = parameters.ignore_eos;
      request.grammar = grammar;
      request.want_logprobs = parameters.logprobs;
      request.top_logprobs = parameters.top_logprobs;
      request.want_prompt_logprobs = generation.is_echoed && parameters.logprobs;
      // Some vocabularies have the markers of calls among their special tokens.
      request.keep_special_text = !parameters.skip_special_tokens || generation.tools.use != protocol::ToolUse::kNone;
      request.tenant = call.tenant;
      requests.push_back(std::move(request));
    }
  }
  return requests;
}

AnswerPlan plan_of(const Service& service, const ServedModel& model, const Call& call,
                   const GenerationCall& generation) {
  const protocol::Parameters& parameters = generation.parameters;
  AnswerPlan plan;
  plan.head = {.kind = generation.kind,
               .id = (generation.kind == protocol::AnswerKind::kChat ? "chatcmpl-" : "cmpl-") + call.id,
               .model = model.card().name,
               .fingerprint = model.fingerprint,
               .created = service.clock.unix_seconds()};
  plan.choices_per_prompt = parameters.n;
  plan.prompts = generation.prompts;
  plan.echoes = generation.echoes;
  plan.format_pointer = parameters.response_format.pointer;
  plan.is_echoed = generation.is_echoed;
  plan.has_logprobs = parameters.logprobs;
  plan.has_token_ids = parameters.return_token_ids;
  plan.shows_special_tokens = !parameters.skip_special_tokens;
  plan.include_usage = parameters.include_usage;
  plan.tokenizer = model.card().tokenizer;
  if (generation.tools.use != protocol::ToolUse::kNone) {
    const bool is_answer_json = generation.tools.use == protocol::ToolUse::kAuto &&
                                parameters.response_format.kind != protocol::FormatKind::kText;
    plan.tools = std::make_shared<ToolPlan>(
        ToolPlan{.format = model.card().tool_format,
                 .callable = generation.tools.callable,
                 .begins_in_reasoning = generation.begins_in_reasoning,
                 .reads_json = !is_answer_json || reads_json_calls(parameters.response_format),
                 .is_answer_json = is_answer_json});
  }
  return plan;
}

// The engine's own bound on lengths may be tighter than the context: its KV memory.
ApiError refusal_of(Error error) {
  const bool is_length = error.code == Code::kInvalidArgument && error.where == "max_tokens";
  return is_length ? ApiError(std::move(error), "context_length_exceeded") : ApiError(std::move(error));
}

}  // namespace

ApiError prompt_too_long(const generation::ModelCard& card, const std::string& tokens, const std::string& more,
                         std::string where) {
  return {{Code::kInvalidArgument,
           "the context of this model is " + std::to_string(card.context_length) + " tokens, but the prompt has " +
               tokens + more,
           std::move(where)},
          "context_length_exceeded"};
}

ApiResult<text::RenderedPrompt> render_chat(const ServedModel& model, const protocol::ChatRequest& chat) {
  const generation::ModelCard& card = model.card();
  auto prompt = generation::render(card, {.messages = &chat.messages,
                                          .tools = &chat.tools.tools,
                                          .template_fields = &chat.template_fields,
                                          .add_generation_prompt = chat.add_generation_prompt});
  if (!prompt) return std::unexpected(callers_fault(std::move(prompt).error(), "messages"));
  return std::move(*prompt);
}

text::Tokenizer::EncodeOptions options_of(const text::RenderedPrompt& prompt) {
  return {.add_special = false, .parse_special = true, .plain = prompt.plain};
}

ApiResult<std::vector<std::int32_t>> encode_prompt(const ServedModel& model, std::string_view text,
                                                   text::Tokenizer::EncodeOptions options, const std::string& where) {
  const generation::ModelCard& card = model.card();
  const std::size_t widest = model.most_bytes_of_a_token;
  const std::size_t least_tokens = widest == 0 ? 0 : (text.size() + widest - 1) / widest;
  if (least_tokens > card.context_length)
    return std::unexpected(prompt_too_long(card, "at least " + std::to_string(least_tokens), "", where));
  options.most_ids = kCountedContexts * card.context_length;
  auto ids = generation::encode(card, text, options);
  if (!ids) return std::unexpected(callers_fault(std::move(ids).error(), where));
  if (ids->size() > options.most_ids) {
    return std::unexpected(prompt_too_long(card, "at least " + std::to_string(ids->size()), "", where));
  }
  return std::move(*ids);
}

void generate_answer(Service& service, ModelLease model, const Call& call, GenerationCall generation) {
  if (auto good = check_sequences(*model, generation); !good) return call.reply->fail(good.error());
  if (auto good = check_context(*model, generation); !good) return call.reply->fail(good.error());
  if (auto good = bound_answer(*model, generation); !good) return call.reply->fail(good.error());
  const bool has_tools = generation.tools.use != protocol::ToolUse::kNone;
  const generation::ModelCard& card = model->card();
  const protocol::ResponseFormat& format = generation.parameters.response_format;
  auto grammar = has_tools ? compile_tools(card,
                                           {.tools = generation.tools.callable,
                                            .places = generation.tools.places,
                                            .is_required = generation.tools.use == protocol::ToolUse::kRequired,
                                            .is_parallel = generation.tools.is_parallel,
                                            .begins_in_reasoning = generation.begins_in_reasoning},
                                           format)
                           : compile_format(card, format);
  if (!grammar) return call.reply->fail(grammar.error());

  auto submission = std::make_shared<Submission>(model);
  AnswerParts parts{
      .reply = call.reply, .submission = submission, .live = &service.live, .finishing = &service.finishing};
  AnswerPlan plan = plan_of(service, *model, call, generation);
  const auto answer = generation.parameters.stream ? make_streamed_answer(std::move(plan), std::move(parts))
                                                   : make_whole_answer(std::move(plan), std::move(parts));
  service.live.add(submission);
  call.reply->when_gone([submission] { submission->cancel(); });
  if (auto submitted = submission->submit(requests_of(call, generation, *grammar), answer); !submitted) {
    answer->abandon();
    service.live.remove(submission);
    return call.reply->fail(refusal_of(std::move(submitted).error()));
  }
  answer->start();
}

}  // namespace autoglm::server

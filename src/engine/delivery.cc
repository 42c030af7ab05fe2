// SPDX-License-Identifier: Apache-2.0
#include "engine/delivery.h"

#include <exception>

#include "base/log.h"

namespace autoglm::engine {
namespace {

using generation::FinishReason;

double seconds(base::Duration duration) { return std::chrono::duration<double>(duration).count(); }

std::vector<generation::TokenLogprob> copy_of(std::span<const generation::TokenLogprob> top) {
  return {top.begin(), top.end()};
}

}  // namespace

void Delivery::prompt_scores(Sequence& sequence, std::span<const SampledToken> scored) {
  if (!sequence.request.want_prompt_logprobs || sequence.has_delivered_prompt) return;
  if (sequence.request.want_prompt_logits) {
    std::size_t position = sequence.prompt_scored;
    for (const SampledToken& token : scored) sequence.sink->on_prompt_logits(position++, token.logits);
  }
  for (const SampledToken& token : scored) {
    generation::TokenLogprob logprob{token.token, token.logprob};
    sequence.prompt_logprobs.push_back({token.token, {}, logprob, copy_of(token.top)});
  }
  sequence.prompt_scored += scored.size();
  if (sequence.prompt_scored + 1 < sequence.prompt_size()) return;
  sequence.prompt_logprobs.insert(sequence.prompt_logprobs.begin(),
                                  generation::TokenEvent{sequence.tokens[0], {}, {}, {}});
  text::StreamDecoder& decoder = sequence.prompt_decoder;
  for (generation::TokenEvent& event : sequence.prompt_logprobs) event.text = decoder.push(event.token);
  sequence.prompt_logprobs.back().text += decoder.finish();
  sequence.has_delivered_prompt = true;
  sequence.sink->on_prompt_logprobs(std::move(sequence.prompt_logprobs));
}

void Delivery::token(Sequence& sequence, const SampledToken& sampled, base::Time now) {
  metrics_.generated_tokens.add();
  if (!sequence.first_token) {
    sequence.first_token = now;
    metrics_.first_token_seconds.observe(seconds(now - sequence.submitted));
  } else {
    metrics_.inter_token_seconds.observe(seconds(now - sequence.last_token));
  }
  sequence.last_token = now;

  telemetry::StageTimer time(&metrics_.stages, telemetry::Stage::kDetokenise);
  generation::TokenEvent event;
  event.token = sampled.token;
  event.text = sequence.stop.push(sequence.decoder.push(sampled.token));
  if (sequence.request.want_logprobs) {
    event.logprob = generation::TokenLogprob{sampled.token, sampled.logprob};
    event.top = copy_of(sampled.top);
  }
  time.next(telemetry::Stage::kDeliver);
  sequence.sink->on_token(std::move(event));
  time.stop();
  if (sequence.stop.is_matched()) sequence.end(FinishReason::kStop);
}

void Delivery::end_token(Sequence& sequence, const SampledToken& sampled) {
  if (sequence.request.want_logprobs) {
    const generation::TokenLogprob logprob{sampled.token, sampled.logprob};
    sequence.end_token = generation::TokenEvent{sampled.token, {}, logprob, copy_of(sampled.top)};
  }
  sequence.end(FinishReason::kStop);
}

void Delivery::finish(Sequence& sequence, base::Time now) {
  generation::Finish finish;
  finish.reason = sequence.finish_reason.value_or(FinishReason::kError);
  finish.error = std::move(sequence.error);
  finish.end_token = std::move(sequence.end_token);
  try {
    finish.text = sequence.stop.push(sequence.decoder.finish());
    finish.text += sequence.stop.finish();
  } catch (const std::exception&) {  // no memory for the last text: the end is told all the same
    finish.reason = FinishReason::kError;
    finish.error = Error{Code::kInternal, "delivering the answer failed", {}};
  }
  if (sequence.stop.is_matched() && finish.reason == FinishReason::kLength) finish.reason = FinishReason::kStop;
  finish.usage.prompt_tokens = sequence.prompt_size();
  finish.usage.cached_tokens = sequence.cached_tokens;
  finish.usage.completion_tokens = sequence.answer_size();
  const base::Time planned = sequence.first_planned.value_or(now);
  const base::Time answered = sequence.first_token.value_or(now);
  finish.queue_seconds = seconds(planned - sequence.submitted);
  finish.prefill_seconds = seconds(answered - planned);
  finish.decode_seconds = seconds(now - answered);

  metrics_.request_seconds.observe(seconds(now - sequence.submitted));
  switch (finish.reason) {
    case FinishReason::kStop:
      metrics_.finished_stop.add();
      break;
    case FinishReason::kLength:
      metrics_.finished_length.add();
      break;
    case FinishReason::kCancelled:
      metrics_.finished_cancelled.add();
      break;
    case FinishReason::kError:
      metrics_.finished_error.add();
      break;
  }
  try {
    sequence.sink->on_finish(std::move(finish));
  } catch (const std::exception& thrown) {
    LOG_ERROR("request {}: its sink threw at the end: {}", base::printable(sequence.request.id), thrown.what());
  }
}

}  // namespace autoglm::engine

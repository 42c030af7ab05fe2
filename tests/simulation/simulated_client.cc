// SPDX-License-Identifier: Apache-2.0
#include "simulation/simulated_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <stdexcept>

#include "engine/script.h"

namespace autoglm::simulation {
namespace {

void append_logprob(std::string& heard, const generation::TokenLogprob& logprob) {
  heard += fmt::format(" {}@{:08x}", logprob.token, std::bit_cast<std::uint32_t>(logprob.logprob));
}

void append_event(std::string& heard, const generation::TokenEvent& event) {
  heard += fmt::format("{}:{}", event.token, event.text);
  if (event.logprob) append_logprob(heard, *event.logprob);
  for (const auto& top : event.top) append_logprob(heard, top);
  heard += '\n';
}

bool holds(const model::Batch& batch, engine::TokenId token) {
  return std::ranges::find(batch.tokens, token) != batch.tokens.end();
}

}  // namespace

void Recorder::on_prompt_logprobs(std::vector<generation::TokenEvent> tokens) {
  if (finish_count > 0) ++events_after_finish;
  for (const auto& event : tokens) append_event(heard, event);
}

void Recorder::on_token(generation::TokenEvent event) {
  if (finish_count > 0) ++events_after_finish;
  append_event(heard, event);
  ++token_count;
  text += event.text;
}

void Recorder::on_finish(generation::Finish ended) {
  ++finish_count;
  text += ended.text;
  finish = std::move(ended);
}

model::Logits FaultyModel::forward(const model::Batch& batch) {
  if (throws_once) {
    throws_once = false;
    throw std::runtime_error("an injected fault");
  }
  if (holds(batch, kThrowingToken)) throw std::runtime_error("a poisonous token");
  const model::Logits logits = good_.forward(batch);
  std::size_t row = 0;
  for (const kernels::SequenceRows& rows : batch.sequences) {
    const bool is_poisoned = std::ranges::count(batch.tokens.subspan(rows.first_row, rows.rows), kNanToken) > 0;
    for (; row < logits.rows && batch.logit_rows[row] < rows.first_row + rows.rows; ++row) {
      if (is_poisoned) logits.row(row)[7] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  return logits;
}

generation::Request random_request(base::Random& random, std::size_t longest_prompt, std::size_t longest_answer) {
  const auto chance = [&](int percent) { return random.below(100) < static_cast<std::uint64_t>(percent); };
  generation::Request request;
  const std::size_t length = 1 + random.below(longest_prompt);
  const std::size_t shared = chance(30) ? length : chance(40) ? random.below(length) : 0;
  const std::uint64_t kind = random.below(2);
  for (std::size_t i = 0; i + 1 < length; ++i) {
    const std::uint64_t letter = i < shared ? base::random_bits(kind, 5, i) % 26 : random.below(26);
    request.prompt.push_back(static_cast<int>('a' + letter));
  }
  if (chance(20)) request.tenant = chance(50) ? "one" : "two";
  request.prompt.push_back(engine::kReplyToken);
  if (length > 1 && chance(3)) request.prompt[length - 2] = FaultyModel::kThrowingToken;
  if (length > 1 && chance(3)) request.prompt[length - 2] = FaultyModel::kNanToken;
  request.max_tokens = 1 + random.below(longest_answer);
  request.prompt_only = chance(4);
  request.priority = chance(20) ? static_cast<int>(random.below(3)) : 0;
  request.sampling.seed = random.bits();
  request.sampling.temperature = chance(30) ? 0.0f : 0.5f + static_cast<float>(random.unit());
  if (chance(20)) request.sampling.top_k = static_cast<int>(1 + random.below(20));
  if (chance(20)) request.sampling.top_p = static_cast<float>(random.unit());
  if (chance(10)) request.sampling.min_p = static_cast<float>(random.unit());
  if (chance(20)) request.sampling.repetition_penalty = 1.3f;
  if (chance(20)) request.sampling.frequency_penalty = 0.5f;
  if (chance(20)) request.sampling.presence_penalty = 0.5f;
  // Penalties may make any token likely; the poisonous ones must only ever come from a prompt.
  request.sampling.logit_bias = {{FaultyModel::kThrowingToken, -100.0f}, {FaultyModel::kNanToken, -100.0f}};
  if (chance(15)) request.sampling.logit_bias.insert(request.sampling.logit_bias.end(), {{'z', 2.0f}, {'e', -1.0f}});
  if (chance(15)) request.stop = {std::string(1, static_cast<char>('a' + random.below(26))) + "e", "xyz"};
  if (chance(10)) request.min_tokens = 1 + random.below(request.max_tokens);
  request.want_logprobs = chance(25);
  request.want_prompt_logprobs = chance(15);
  request.top_logprobs = random.below(4);
  return request;
}

std::unique_ptr<engine::Sequence> make_sequence(generation::Ticket ticket, const generation::Request& request,
                                                std::shared_ptr<generation::Sink> sink,
                                                const engine::EngineModel& model, base::Time now) {
  const std::size_t answer = request.prompt_only ? 0 : request.max_tokens;
  std::vector<engine::TokenId> ends = request.stop_tokens;
  ends.insert(ends.end(), model.eos.begin(), model.eos.end());
  auto matcher = request.grammar == nullptr ? nullptr : request.grammar->start().value();
  engine::SamplingState state(request, std::move(ends), request.sampling.seed.value_or(0), model.network->vocab(),
                              answer, std::move(matcher));
  return std::make_unique<engine::Sequence>(ticket, request, std::move(sink), std::move(state), answer,
                                            *model.card.tokenizer, now);
}

}  // namespace autoglm::simulation

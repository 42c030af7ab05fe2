// SPDX-License-Identifier: Apache-2.0
#include "engine/sequence.h"

namespace autoglm::engine {

Sequence::Sequence(generation::Ticket ticket_number, generation::Request asked, std::shared_ptr<generation::Sink> where,
                   SamplingState sampling_state, std::size_t answer_tokens, const text::Tokenizer& tokenizer,
                   base::Time submitted_at)
    : ticket(ticket_number),
      request(std::move(asked)),
      sink(std::move(where)),
      answer_limit(answer_tokens),
      sampling(std::move(sampling_state)),
      prompt_decoder(tokenizer, !request.keep_special_text),
      decoder(tokenizer, !request.keep_special_text, text::StreamDecoder::Begins::kMidText),
      stop(request.stop),
      submitted(submitted_at) {
  const std::size_t longest = request.prompt.size() + answer_limit;
  tokens.reserve(longest);
  tokens.assign(request.prompt.begin(), request.prompt.end());
  blocks.reserve((longest + kBlockTokens - 1) / kBlockTokens);
  if (request.want_prompt_logprobs) prompt_logprobs.reserve(request.prompt.size());
}

void Sequence::end(generation::FinishReason reason, std::optional<Error> why) {
  if (is_finished()) return;
  finish_reason = reason;
  error = std::move(why);
}

bool is_before(const Sequence& left, const Sequence& right) {
  if (left.request.priority != right.request.priority) return left.request.priority > right.request.priority;
  return left.ticket < right.ticket;
}

}  // namespace autoglm::engine

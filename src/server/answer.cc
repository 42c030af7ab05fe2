// SPDX-License-Identifier: Apache-2.0
// What both kinds of answers share.
#include "server/answer.h"

namespace autoglm::server {

std::string_view finish_word(generation::FinishReason reason, bool has_calls) {
  if (reason == generation::FinishReason::kLength) return "length";
  return has_calls ? "tool_calls" : "stop";
}

protocol::TokenRecord token_record(const generation::TokenEvent& event, const text::Tokenizer& tokenizer) {
  protocol::TokenRecord record;
  record.chosen.token = tokenizer.token_bytes(event.token);
  record.has_logprob = event.logprob.has_value();
  if (event.logprob) record.chosen.logprob = event.logprob->logprob;
  for (const generation::TokenLogprob& other : event.top) {
    record.top.push_back({std::string(tokenizer.token_bytes(other.token)), other.logprob});
  }
  return record;
}

protocol::ApiError finish_error(const generation::Finish& finish) {
  if (finish.error) return *finish.error;
  if (finish.reason == generation::FinishReason::kCancelled)
    return Error{Code::kCancelled, "the request was cancelled", {}};
  return Error{Code::kInternal, "the engine ended the request without a reason", {}};
}

}  // namespace autoglm::server

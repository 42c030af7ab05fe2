// SPDX-License-Identifier: Apache-2.0
// What both kinds of answers share.
#include "server/answer.h"

namespace autoglm::server {
namespace {

// Tokens without any text are told apart by their ids.
std::string name_of(generation::TokenId token, const text::Tokenizer& tokenizer) {
  return tokenizer.has_text() ? std::string(tokenizer.token_bytes(token)) : "token_id:" + std::to_string(token);
}

}  // namespace

std::string_view finish_word(generation::FinishReason reason, bool has_calls) {
  if (reason == generation::FinishReason::kLength) return "length";
  return has_calls ? "tool_calls" : "stop";
}

protocol::TokenRecord token_record(const generation::TokenEvent& event, const AnswerPlan& plan) {
  const text::Tokenizer& tokenizer = *plan.tokenizer;
  protocol::TokenRecord record;
  record.is_in_text = tokenizer.has_text() && (plan.shows_special_tokens || !tokenizer.is_special(event.token));
  record.chosen.token = name_of(event.token, tokenizer);
  record.has_logprob = event.logprob.has_value();
  if (event.logprob) record.chosen.logprob = event.logprob->logprob;
  for (const generation::TokenLogprob& other : event.top) {
    record.top.push_back({name_of(other.token, tokenizer), other.logprob});
  }
  return record;
}

std::vector<protocol::TokenRecord> end_record(const generation::Finish& finish, const AnswerPlan& plan) {
  if (!plan.expects_prompt_logprobs() || !finish.end_token) return {};
  std::vector<protocol::TokenRecord> records = {token_record(*finish.end_token, plan)};
  records.front().is_in_text = false;
  return records;
}

protocol::ApiError finish_error(const generation::Finish& finish, const AnswerPlan& plan) {
  if (finish.error) {
    Error error = *finish.error;
    if (error.where == "grammar") error.where = plan.format_pointer;
    return error;
  }
  if (finish.reason == generation::FinishReason::kCancelled)
    return Error{Code::kCancelled, "the request was cancelled", {}};
  return Error{Code::kInternal, "the engine ended the request without a reason", {}};
}

}  // namespace autoglm::server

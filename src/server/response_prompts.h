// SPDX-License-Identifier: Apache-2.0
// What a response's model is asked, turn by turn: the conversation so far, its prompt, and the grammar of what may
// come. One thread at a time: a worker for the first turn, then the response's own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "protocol/response_conversation.h"
#include "protocol/response_request.h"
#include "server/request_grammar.h"
#include "server/response_tools.h"
#include "server/service.h"

namespace autoglm::server {

struct ResponseJob {
  ModelLease model;
  std::string id;          // without "resp_"
  std::string request_id;  // for logs
  std::string tenant;
  protocol::ResponseRequest request;
  ResponseToolSet tools;
  json::Array earlier;  // items of the responses that this one goes on from
  json::Array input;    // items that are new with it
};

struct ResponseTurn {
  std::vector<generation::TokenId> prompt;
  std::shared_ptr<const text::Grammar> grammar;
  bool has_tools = false;  // in the prompt
  bool may_call = false;
  bool begins_in_reasoning = false;
  bool is_answer_json = false;  // and calls are told apart from it: with tools only
};

class ResponsePrompts final {
 public:
  /// `job` must outlive it.
  explicit ResponsePrompts(const ResponseJob& job) : job_(job) {}

  /// All items before the next turn as messages; `made` are those of this response. Errors: kInvalidArgument (input).
  ApiResult<protocol::Conversation> conversation(const json::Array& made) const;
  /// The turn after `turns` others. At the end of what it may call the model is asked for its answer; the prompt goes
  /// on as it began. Errors: kInvalidArgument (input; tools, with the place), context_length_exceeded.
  ApiResult<ResponseTurn> next(const json::Array& messages, std::size_t turns, bool may_call_on);

 private:
  ApiResult<std::shared_ptr<const text::Grammar>> grammar_of(const ResponseTurn& turn, bool is_required);
  ApiResult<std::shared_ptr<const text::Grammar>> grammar_of_calls(bool is_required, bool begins_in_reasoning);

  const ResponseJob& job_;
  // Of calls, as it was compiled last.
  std::shared_ptr<const text::Grammar> grammar_;
  bool grammar_is_required_ = false;
  bool grammar_in_reasoning_ = false;
};

}  // namespace autoglm::server

// SPDX-License-Identifier: Apache-2.0
// The common end of chat and completions: from checked parameters and token ids to submitted requests. Worker threads.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "protocol/openai_request.h"
#include "protocol/openai_response.h"
#include "server/service.h"
#include "text/tokenizer.h"

namespace autoglm::server {

template <typename T>
using ApiResult = std::expected<T, protocol::ApiError>;

// A rendered chat.
struct ChatIds {
  std::vector<std::int32_t> ids;
  bool begins_in_reasoning = false;  // the prompt ends where thinking begins
};

/// Errors: kInvalidArgument (no template, the template's own refusal, too much text).
ApiResult<ChatIds> render_chat(const Service& service, const protocol::ChatRequest& chat);

// Everything that the two routes hand over.
struct GenerationCall {
  protocol::AnswerKind kind = protocol::AnswerKind::kChat;
  protocol::Parameters parameters;
  std::vector<std::vector<std::int32_t>> prompts;
  bool is_echoed = false;
  std::vector<std::string> echoes;
  protocol::ToolRequest tools;
  bool begins_in_reasoning = false;
};

/// Checks lengths, compiles the grammar, submits and connects the answer with the reply; errors go to the reply.
void generate_answer(Service& service, const Call& call, GenerationCall generation);

}  // namespace autoglm::server

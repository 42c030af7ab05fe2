// SPDX-License-Identifier: Apache-2.0
// The common end of chat and completions: from checked parameters and token ids to submitted requests. Worker threads.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "protocol/openai_request.h"
#include "protocol/openai_response.h"
#include "server/request_grammar.h"
#include "server/service.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace autoglm::server {

// How far the tokens of a prompt that does not fit are counted: exactly while that is cheap.
inline constexpr std::size_t kCountedContexts = 4;

/// The text of a chat. Errors: kInvalidArgument (no template, the template's own refusal, too much text).
ApiResult<text::RenderedPrompt> render_chat(const ServedModel& model, const protocol::ChatRequest& chat);

/// context_length_exceeded, with both figures; `tokens` and `more` say how long prompt and answer would be.
protocol::ApiError prompt_too_long(const generation::ModelCard& card, const std::string& tokens,
                                   const std::string& more, std::string where);

/// Token ids of a prompt to be answered; `where` is the parameter that it came with. Errors: kInvalidArgument (too much
/// text), and context_length_exceeded for a text that is too long to fit whatever its tokens are: it is not tokenized,
/// for the workers are there for all.
ApiResult<std::vector<std::int32_t>> encode_prompt(const ServedModel& model, std::string_view text,
                                                   text::Tokenizer::EncodeOptions options, const std::string& where);

/// How a rendered chat is tokenized: what its callers wrote never becomes a control token.
text::Tokenizer::EncodeOptions options_of(const text::RenderedPrompt& prompt);

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
void generate_answer(Service& service, ModelLease model, const Call& call, GenerationCall generation);

}  // namespace autoglm::server

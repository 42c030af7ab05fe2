// SPDX-License-Identifier: Apache-2.0
// /v1/chat/completions and /v1/completions: from a body to token ids; what follows is common.
#include "protocol/openai_request.h"
#include "server/generation_route.h"

namespace autoglm::server {
namespace {

using protocol::ApiError;

ApiResult<std::vector<std::int32_t>> ids_of(const text::Tokenizer& tokenizer, const protocol::Prompt& prompt,
                                            const protocol::CompletionRequest& request) {
  if (const auto* ids = std::get_if<std::vector<std::int32_t>>(&prompt)) {
    for (std::int32_t id : *ids) {
      if (static_cast<std::size_t>(id) < tokenizer.vocab()) continue;
      return std::unexpected(Error{Code::kInvalidArgument,
                                   "the prompt names token " + std::to_string(id) + ", but this model has " +
                                       std::to_string(tokenizer.vocab()) + " tokens",
                                   "prompt"});
    }
    return *ids;
  }
  auto ids = tokenizer.encode(std::get<std::string>(prompt),
                              {.add_special = request.add_special_tokens, .parse_special = request.parse_special});
  if (!ids) {
    return std::unexpected(
        ApiError({Code::kInvalidArgument, "the prompt cannot be tokenised: " + ids.error().message, "prompt"}));
  }
  return std::move(*ids);
}

ApiResult<std::string> echo_of(const text::Tokenizer& tokenizer, const protocol::Prompt& prompt, bool skip_special) {
  if (const auto* text = std::get_if<std::string>(&prompt)) return *text;
  auto text = tokenizer.decode(std::get<std::vector<std::int32_t>>(prompt), skip_special);
  if (!text) return std::unexpected(ApiError(text.error()));
  return std::move(*text);
}

}  // namespace

void serve_chat(Service& service, const Call& call) {
  auto chat = protocol::parse_chat_request(call.request.body);
  if (!chat) return call.reply->fail(chat.error());
  if (auto known = check_model(service, chat->parameters.model); !known) return call.reply->fail(known.error());
  auto prompt = render_chat(service, *chat);
  if (!prompt) return call.reply->fail(prompt.error());
  GenerationCall generation;
  generation.kind = protocol::AnswerKind::kChat;
  generation.parameters = std::move(chat->parameters);
  generation.tools = std::move(chat->tools);
  generation.begins_in_reasoning = prompt->begins_in_reasoning;
  generation.prompts.push_back(std::move(prompt->ids));
  generate_answer(service, call, std::move(generation));
}

void serve_completion(Service& service, const Call& call) {
  auto request = protocol::parse_completion_request(call.request.body);
  if (!request) return call.reply->fail(request.error());
  if (auto known = check_model(service, request->parameters.model); !known) return call.reply->fail(known.error());
  const text::Tokenizer& tokenizer = *service.generator.card().tokenizer;
  GenerationCall generation;
  generation.kind = protocol::AnswerKind::kCompletion;
  generation.is_echoed = request->echo;
  for (const protocol::Prompt& prompt : request->prompts) {
    auto ids = ids_of(tokenizer, prompt, *request);
    if (!ids) return call.reply->fail(ids.error());
    generation.prompts.push_back(std::move(*ids));
    if (!request->echo) continue;
    auto echo = echo_of(tokenizer, prompt, request->parameters.skip_special_tokens);
    if (!echo) return call.reply->fail(echo.error());
    generation.echoes.push_back(std::move(*echo));
  }
  generation.parameters = std::move(request->parameters);
  // The API of completions has always answered with 16 tokens unless told otherwise.
  if (!generation.parameters.max_tokens) generation.parameters.max_tokens = 16;
  generate_answer(service, call, std::move(generation));
}

}  // namespace autoglm::server

// SPDX-License-Identifier: Apache-2.0
// /v1/chat/completions and /v1/completions: from a body to token ids; what follows is common.
#include "generation/chat_prompt.h"
#include "protocol/openai_request.h"
#include "server/generation_route.h"

namespace autoglm::server {
namespace {

using protocol::ApiError;

// Ids that a caller gives are checked by the engine: a model may have more of them than its tokenizer.
ApiResult<std::vector<std::int32_t>> ids_of(const ServedModel& model, const protocol::Prompt& prompt,
                                            const protocol::CompletionRequest& request) {
  if (const auto* ids = std::get_if<std::vector<std::int32_t>>(&prompt)) return *ids;
  return encode_prompt(model, std::get<std::string>(prompt),
                       {.add_special = request.add_special_tokens, .parse_special = request.parse_special}, "prompt");
}

ApiResult<std::string> echo_of(const text::Tokenizer& tokenizer, const protocol::Prompt& prompt, bool skip_special) {
  if (const auto* text = std::get_if<std::string>(&prompt)) return *text;
  if (!tokenizer.has_text()) return std::string();
  auto text = tokenizer.decode(std::get<std::vector<std::int32_t>>(prompt), skip_special);
  if (!text) return std::unexpected(ApiError(text.error()));
  return std::move(*text);
}

}  // namespace

void serve_chat(Service& service, const Call& call) {
  auto chat = protocol::parse_chat_request(call.request.body);
  if (!chat) return call.reply->fail(chat.error());
  ModelLease model = model_for(service, call, chat->parameters.model, ModelUse::kWrites, serve_chat);
  if (model == nullptr) return;
  auto rendered = render_chat(*model, *chat);
  if (!rendered) return call.reply->fail(rendered.error());
  auto prompt = encode_prompt(*model, rendered->text, options_of(*rendered), "messages");
  if (!prompt) return call.reply->fail(prompt.error());
  GenerationCall generation;
  generation.kind = protocol::AnswerKind::kChat;
  generation.parameters = std::move(chat->parameters);
  generation.tools = std::move(chat->tools);
  generation.begins_in_reasoning = generation::ends_in_reasoning(rendered->text);
  generation.prompts.push_back(std::move(*prompt));
  generate_answer(service, std::move(model), call, std::move(generation));
}

void serve_completion(Service& service, const Call& call) {
  auto request = protocol::parse_completion_request(call.request.body);
  if (!request) return call.reply->fail(request.error());
  ModelLease model = model_for(service, call, request->parameters.model, ModelUse::kWrites, serve_completion);
  if (model == nullptr) return;
  const text::Tokenizer& tokenizer = *model->card().tokenizer;
  if (!tokenizer.has_text() && !request->parameters.stop.empty()) {
    return call.reply->fail(Error{Code::kInvalidArgument,
                                  "this model has no tokenizer: no text ends its answers, stop_token_ids do", "stop"});
  }
  GenerationCall generation;
  generation.kind = protocol::AnswerKind::kCompletion;
  generation.is_echoed = request->echo;
  for (const protocol::Prompt& prompt : request->prompts) {
    auto ids = ids_of(*model, prompt, *request);
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
  generate_answer(service, std::move(model), call, std::move(generation));
}

}  // namespace autoglm::server

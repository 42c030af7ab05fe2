// SPDX-License-Identifier: Apache-2.0
// What can be asked about the server: health, figures; and token ids of texts.
#include "base/json.h"
#include "generation/chat_prompt.h"
#include "protocol/openai_request.h"
#include "server/generation_route.h"
#include "server/service.h"

namespace autoglm::server {
namespace {

using protocol::ApiError;

ApiResult<std::vector<std::int32_t>> tokens_of(const ServedModel& model, const protocol::TokenizeRequest& request) {
  const generation::ModelCard& card = model.card();
  if (const auto* chat = std::get_if<protocol::ChatRequest>(&request.input)) {
    auto prompt = render_chat(model, *chat);
    if (!prompt) return std::unexpected(prompt.error());
    auto ids = generation::encode(card, prompt->text, options_of(*prompt));
    if (!ids) return std::unexpected(ApiError({Code::kInvalidArgument, ids.error().message, "messages"}));
    return std::move(*ids);
  }
  auto ids = generation::encode(card, std::get<std::string>(request.input),
                                {.add_special = request.add_special_tokens, .parse_special = request.parse_special});
  if (!ids) return std::unexpected(ApiError({Code::kInvalidArgument, ids.error().message, "prompt"}));
  return std::move(*ids);
}

}  // namespace

void serve_health(Service&, const Call& call) { call.reply->json(R"({"status":"ok"})"); }

void serve_ready(Service& service, const Call& call) {
  if (service.is_draining || !service.models.is_ready()) {
    return call.reply->fail(Error{Code::kUnavailable, "the server takes no requests at present", {}});
  }
  call.reply->json(R"({"status":"ready"})");
}

void serve_metrics(Service& service, const Call& call) {
  const auto models = service.models.figures();
  call.reply->send(200, "text/plain; version=0.0.4; charset=utf-8",
                   models.empty() ? service.metrics.expose() : service.metrics.expose(models));
}

void serve_tokenize(Service& service, const Call& call) {
  auto request = protocol::parse_tokenize_request(call.request.body);
  if (!request) return call.reply->fail(request.error());
  const ModelLease model = model_for(service, call, request->model, ModelUse::kAny, serve_tokenize);
  if (model == nullptr) return;
  auto ids = tokens_of(*model, *request);
  if (!ids) return call.reply->fail(ids.error());
  std::string out = R"({"count":)" + std::to_string(ids->size()) + R"(,"max_model_len":)" +
                    std::to_string(model->card().context_length) + R"(,"tokens":[)";
  for (std::size_t i = 0; i < ids->size(); ++i) out += (i > 0 ? "," : "") + std::to_string((*ids)[i]);
  call.reply->json(out + "]}");
}

void serve_detokenize(Service& service, const Call& call) {
  auto request = protocol::parse_detokenize_request(call.request.body);
  if (!request) return call.reply->fail(request.error());
  const ModelLease model = model_for(service, call, request->model, ModelUse::kAny, serve_detokenize);
  if (model == nullptr) return;
  auto text = model->card().tokenizer->decode(request->tokens, request->skip_special_tokens);
  if (!text) return call.reply->fail(Error{Code::kInvalidArgument, text.error().message, "tokens"});
  // Under both names that servers use for it: vLLM's and llama.cpp's.
  std::string out = R"({"prompt":)";
  json::append_string(out, *text);
  json::append_string(out += R"(,"content":)", *text);
  call.reply->json(out + "}");
}

}  // namespace autoglm::server

// SPDX-License-Identifier: Apache-2.0
// What can be asked about the server and its model: health, models, figures; and token ids of texts.
#include "base/json.h"
#include "generation/chat_prompt.h"
#include "protocol/openai_request.h"
#include "server/generation_route.h"
#include "server/service.h"

namespace autoglm::server {
namespace {

using protocol::ApiError;

std::string model_object(const generation::ModelCard& card) {
  std::string out = R"({"id":)";
  json::append_string(out, card.name);
  out += R"(,"object":"model","created":)" + std::to_string(card.created_unix_seconds) +
         R"(,"owned_by":"openautoglm","max_model_len":)" + std::to_string(card.context_length) + "}";
  return out;
}

ApiError unknown_model(std::string_view name) {
  return {{Code::kNotFound, "the model \"" + std::string(name) + "\" is not served here; /v1/models says which is",
           "model"},
          "model_not_found"};
}

ApiResult<std::vector<std::int32_t>> tokens_of(const Service& service, const protocol::TokenizeRequest& request) {
  const generation::ModelCard& card = service.generator.card();
  if (const auto* chat = std::get_if<protocol::ChatRequest>(&request.input)) {
    auto prompt = render_chat(service, *chat);
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

std::expected<void, protocol::ApiError> check_model(const Service& service, std::string_view name) {
  if (name.empty() || name == service.generator.card().name) return {};
  return std::unexpected(unknown_model(name));
}

void serve_health(Service&, const Call& call) { call.reply->json(R"({"status":"ok"})"); }

void serve_ready(Service& service, const Call& call) {
  if (service.is_draining || !service.generator.is_ready()) {
    return call.reply->fail(Error{Code::kUnavailable, "the server takes no requests at present", {}});
  }
  call.reply->json(R"({"status":"ready"})");
}

void serve_models(Service& service, const Call& call) {
  call.reply->json(R"({"object":"list","data":[)" + model_object(service.generator.card()) + "]}");
}

void serve_model(Service& service, const Call& call) {
  std::string name;
  const std::string_view written = std::string_view(call.request.path).substr(std::string_view("/v1/models/").size());
  if (!net::decode_percent(written, name)) {
    return call.reply->fail(Error{Code::kInvalidArgument, "the path has a malformed escape", "model"});
  }
  if (auto known = check_model(service, name); !known) return call.reply->fail(known.error());
  call.reply->json(model_object(service.generator.card()));
}

void serve_metrics(Service& service, const Call& call) {
  call.reply->send(200, "text/plain; version=0.0.4; charset=utf-8", service.metrics.expose());
}

void serve_tokenize(Service& service, const Call& call) {
  auto request = protocol::parse_tokenize_request(call.request.body);
  if (!request) return call.reply->fail(request.error());
  if (auto known = check_model(service, request->model); !known) return call.reply->fail(known.error());
  auto ids = tokens_of(service, *request);
  if (!ids) return call.reply->fail(ids.error());
  std::string out = R"({"count":)" + std::to_string(ids->size()) + R"(,"max_model_len":)" +
                    std::to_string(service.generator.card().context_length) + R"(,"tokens":[)";
  for (std::size_t i = 0; i < ids->size(); ++i) out += (i > 0 ? "," : "") + std::to_string((*ids)[i]);
  call.reply->json(out + "]}");
}

void serve_detokenize(Service& service, const Call& call) {
  auto request = protocol::parse_detokenize_request(call.request.body);
  if (!request) return call.reply->fail(request.error());
  if (auto known = check_model(service, request->model); !known) return call.reply->fail(known.error());
  auto text = service.generator.card().tokenizer->decode(request->tokens, request->skip_special_tokens);
  if (!text) return call.reply->fail(Error{Code::kInvalidArgument, text.error().message, "tokens"});
  // Under both names that servers use for it: vLLM's and llama.cpp's.
  std::string out = R"({"prompt":)";
  json::append_string(out, *text);
  json::append_string(out += R"(,"content":)", *text);
  call.reply->json(out + "}");
}

}  // namespace autoglm::server

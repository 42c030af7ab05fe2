// SPDX-License-Identifier: Apache-2.0
// The page at /: what runs and how to call it. One self-contained document: no scripts, no outside assets, a policy
// that forbids both.
#include <array>

#include "base/base64.h"
#include "base/json.h"
#include "base/shell.h"
#include "server/access.h"
#include "server/service.h"

namespace autoglm::server {
namespace {

constexpr std::string_view kStyle =
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 "
    "1rem;color:#1c1e21;background:#fff}"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}pre{background:#f3f4f6;padding:.8rem "
    "1rem;overflow:auto;border-radius:6px}"
    "table{border-collapse:collapse}td{padding:.15rem 1rem .15rem "
    "0;vertical-align:top}code{font-family:ui-monospace,monospace}"
    "@media(prefers-color-scheme:dark){body{color:#e6e7e9;background:#17181a}pre{background:#24262a}a{color:#8ab4f8}}";

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out.push_back(c);
    }
  }
  return out;
}

std::string curl_line(const Service& service, const ServedModel& model, std::string_view base_url) {
  const generation::ModelCard& card = model.card();
  std::string_view path = card.chat_template != nullptr ? "/chat/completions" : "/completions";
  std::string body = R"({"model": )";
  json::append_string(body, card.name);
  if (model.embedder != nullptr && model.embedder->card().pairs) {
    path = "/rerank";
    body += R"(, "query": "What do cats eat?", "documents": ["Cats eat mice.", "Stocks fell."]})";
  } else if (model.embedder != nullptr) {
    path = "/embeddings";
    body += card.tokenizer->has_text() ? R"(, "input": "What is an embedding?"})" : R"(, "input": [1, 2, 3]})";
  } else if (card.chat_template != nullptr) {
    body +=
        R"(, "messages": [{"role": "user", "content": "Why is the sky blue?"}], "max_tokens": 200, "stream": true})";
  } else if (card.tokenizer->has_text()) {
    body += R"(, "prompt": "Once upon a time", "max_tokens": 32, "stream": true})";
  } else {
    body += R"(, "prompt": [1, 2, 3], "max_tokens": 32, "return_token_ids": true, "stream": true})";
  }
  std::string line = "curl -N " + std::string(base_url) + std::string(path);
  line += " \\\n  -H 'Content-Type: application/json'";
  if (!service.options.api_keys.empty()) line += " \\\n  -H \"Authorization: Bearer $OPENAI_API_KEY\"";
  return line + " \\\n  -d " + base::shell_quoted(body);
}

// What runs here: the one model with its figures, or the list of several.
std::string models_text(const std::vector<ModelStatus>& models, const ServedModel* one) {
  if (models.size() == 1 && one != nullptr) {
    const generation::ModelCard& card = one->card();
    return "<p>This server runs <code>" + escaped(card.name) + "</code> with a context of " +
           std::to_string(card.context_length) + " tokens, up to " + std::to_string(card.max_batch_size) +
           " requests at a time.</p>";
  }
  std::string text = "<p>This server runs these models; each request names one.</p><table>";
  for (const ModelStatus& model : models) {
    text += "<tr><td><code>" + escaped(model.name) + "</code><td>" + (model.is_encoder ? "encoder" : "writes text") +
            "<td>" + std::string(word_of(model.state)) + "<td>up to " + std::to_string(model.max_concurrency) +
            " requests at a time";
  }
  return text + "</table>";
}

// The first one in memory; null when none is.
ModelLease first_loaded(const ModelRegistry& registry, const std::vector<ModelStatus>& models) {
  for (const ModelStatus& model : models) {
    if (ModelLease lease = registry.find_loaded(model.name)) return lease;
  }
  return nullptr;
}

}  // namespace

void serve_page(Service& service, const Call& call) {
  const std::vector<ModelStatus> models = service.models.list();
  const ModelLease shown = first_loaded(service.models, models);
  const std::string host(call.request.field("host"));
  const std::string base_url = "http://" + (host.empty() ? std::string("localhost") : host) + "/v1";
  std::string page =
      "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
      "<title>Open-AutoGLM</title><style>";
  page += kStyle;
  page += "</style><h1>Open-AutoGLM</h1>" + models_text(models, shown.get()) + "<h2>Call it</h2>";
  if (shown != nullptr) page += "<pre>" + escaped(curl_line(service, *shown, base_url)) + "</pre>";
  page += "<p>For clients of the OpenAI API the base URL is <code>" + escaped(base_url) + "</code>" +
          (service.options.api_keys.empty() ? "; any API key will do."
                                            : "; they need one of the API keys of this server.") +
          "</p><h2>Routes</h2><table>";
  for (const Route& route : all_routes()) {
    page += "<tr><td><code>" + std::string(route.method) + " " + escaped(route.path) + "</code><td>" +
            escaped(route.summary);
  }
  page += "</table>";
  static const std::string policy = "default-src 'none'; style-src 'sha256-" + base::base64(digest_of(kStyle)) +
                                    "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
  call.reply->send(200, "text/html; charset=utf-8", std::move(page),
                   {{"Content-Security-Policy", policy}, {"Referrer-Policy", "no-referrer"}});
}

}  // namespace autoglm::server

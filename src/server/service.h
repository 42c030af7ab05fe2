// SPDX-License-Identifier: Apache-2.0
// What the routes share, and what they are: functions from a request to its reply. Private to this folder.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "agent/tool_registry.h"
#include "generation/embedder.h"
#include "generation/generator.h"
#include "net/http_message.h"
#include "server/measures.h"
#include "server/reply.h"
#include "server/response_runs.h"
#include "server/server.h"
#include "server/submission.h"
#include "server/workers.h"
#include "store/response_store.h"

namespace autoglm::server {

struct Service {
  generation::Generator& generator;
  generation::Embedder* embedder;  // null = the model writes text; else the generator only refuses
  const ServerOptions& options;
  const base::Clock& clock;
  telemetry::Registry& metrics;
  std::shared_ptr<Measures> measures;
  LiveSubmissions& live;
  Workers& finishing;
  ResponseRuns& runs;
  store::ResponseStore& responses;
  const agent::ToolRegistry* tools;   // those that responses may call; null = none
  std::size_t most_bytes_of_a_token;  // 0 = not known
  std::string fingerprint;            // of the model and how it is run
  std::atomic<bool> is_draining = false;
};

// A request as a route sees it.
struct Call {
  net::HttpRequest request;
  std::string tenant;  // who asks, by key; empty without keys
  std::string id;      // of the request, for logs and the answer
  std::shared_ptr<Reply> reply;
};

// On a worker: these parse, render, tokenise and compile.
void serve_chat(Service& service, const Call& call);
void serve_completion(Service& service, const Call& call);
void serve_embeddings(Service& service, const Call& call);
void serve_rerank(Service& service, const Call& call);
void serve_response(Service& service, const Call& call);
void serve_stored_response(Service& service, const Call& call);
void serve_response_removal(Service& service, const Call& call);
void serve_response_cancel(Service& service, const Call& call);
void serve_input_items(Service& service, const Call& call);
void serve_tokenize(Service& service, const Call& call);
void serve_detokenize(Service& service, const Call& call);
void serve_metrics(Service& service, const Call& call);

// On the network thread: nothing here waits or computes.
void serve_page(Service& service, const Call& call);
void serve_health(Service& service, const Call& call);
void serve_ready(Service& service, const Call& call);
void serve_models(Service& service, const Call& call);
void serve_model(Service& service, const Call& call);

/// kNotFound (model_not_found) when a request names another model than the one served. An empty name is any.
std::expected<void, protocol::ApiError> check_model(const Service& service, std::string_view name);

}  // namespace autoglm::server

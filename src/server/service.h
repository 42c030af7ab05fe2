// SPDX-License-Identifier: Apache-2.0
// What the routes share, and what they are: functions from a request to its reply. Private to this folder.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/tool_registry.h"
#include "net/http_message.h"
#include "server/measures.h"
#include "server/model_registry.h"
#include "server/reply.h"
#include "server/response_runs.h"
#include "server/server.h"
#include "server/submission.h"
#include "server/workers.h"
#include "store/response_store.h"

namespace autoglm::server {

struct Service {
  ModelRegistry& models;
  const ServerOptions& options;
  const base::Clock& clock;
  telemetry::Registry& metrics;
  std::shared_ptr<Measures> measures;
  LiveSubmissions& live;
  Workers& workers;
  Workers& finishing;
  ResponseRuns& runs;
  store::ResponseStore& responses;
  const agent::ToolRegistry* tools;  // those that responses may call; null = none
  std::atomic<bool> is_draining = false;
};

// A request as a route sees it.
struct Call {
  net::HttpRequest request;
  std::string tenant;  // who asks, by key; empty without keys
  std::string id;      // of the request, for logs and the answer
  std::shared_ptr<Reply> reply;
};

using ServeCall = void (*)(Service&, const Call&);

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
void serve_admin_models(Service& service, const Call& call);
void serve_admin_load(Service& service, const Call& call);
void serve_admin_unload(Service& service, const Call& call);

// What a route needs of a model.
enum class ModelUse : std::uint8_t { kWrites, kEmbeds, kScores, kAny };

/// The model that a request names; an empty name is the default one. Null: this call is over for its route. It was
/// answered with an error (model_not_found, or a model of the other kind), or it waits for the model to be loaded and
/// will come again, to `again`.
ModelLease model_for(Service& service, const Call& call, std::string_view name, ModelUse use, ServeCall again);

}  // namespace autoglm::server

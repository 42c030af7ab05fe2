// SPDX-License-Identifier: Apache-2.0
// The server: checks every request's host, origin, route and key before its body is read, and gives the work to the
// right thread.
#include "server/server.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/log.h"
#include "base/random.h"
#include "net/http_server.h"
#include "server/access.h"
#include "server/embedding_route.h"
#include "server/service.h"

namespace autoglm::server {
namespace {

using net::HttpFault;
using net::HttpRequest;
using net::HttpResponse;

// Requests that may wait for a worker. More are refused: the client hears of it sooner than it would get an answer.
constexpr std::size_t kMaxWaitingCalls = 512;
constexpr int kWorkers = 2;

std::string new_id() {
  std::array<char, 33> text{};
  std::snprintf(text.data(), text.size(), "%016lx%016lx", static_cast<unsigned long>(base::entropy_bits()),
                static_cast<unsigned long>(base::entropy_bits()));
  return std::string(text.data(), 32).substr(0, 24);
}

Code code_of_status(int status) {
  if (status == 408) return Code::kDeadline;
  if (status == 503) return Code::kExhausted;
  return status < 500 || status == 501 || status == 505 ? Code::kInvalidArgument : Code::kInternal;
}

// A request that got no further than its head, or not so far; its new id. A path that we do not have is not logged: it
// may be anything.
std::string log_refused(int status, std::string_view method, std::string_view path) {
  std::string id = new_id();
  const Route* route = find_route(method, path).route;
  LOG_DEBUG("{} {} {} refused, request {}", base::printable(method, 20), route == nullptr ? "-" : route->path, status,
            id);
  return id;
}

// What every answer carries, whoever writes it.
std::vector<net::HttpField> common_fields(const std::string& id) {
  return {{"X-Request-Id", id}, {"X-Content-Type-Options", "nosniff"}, {"Cache-Control", "no-store"}};
}

void append(std::vector<net::HttpField>& fields, const std::vector<net::HttpField>& more) {
  fields.insert(fields.end(), more.begin(), more.end());
}

bool is_json(std::string_view content_type) {
  const std::string type = net::lower_ascii(content_type.substr(0, content_type.find(';')));
  const auto end = type.find_last_not_of(" \t");
  return end != std::string::npos && std::string_view(type).substr(0, end + 1) == "application/json";
}

// What came, for the one who sent it.
std::string shown(std::string_view text) {
  constexpr std::size_t kMaxShownBytes = 100;
  return base::printable(text, kMaxShownBytes);
}

Error wrong_field(std::string message, std::string_view came) {
  message += came.empty() ? "; there is none" : "; it is " + shown(came);
  return {Code::kInvalidArgument, std::move(message), {}};
}

bool is_generation(RouteKind kind) {
  return kind == RouteKind::kChat || kind == RouteKind::kCompletion || kind == RouteKind::kResponse;
}

net::HttpServerOptions http_options(const ServerOptions& options) {
  net::HttpServerOptions http;
  http.host = options.host;
  http.port = options.port;
  http.head.max_head_bytes = options.max_header_bytes;
  http.max_body_bytes = options.max_body_bytes;
  http.max_connections = options.max_connections;
  return http;
}

class ApiServer final : public Server, public net::HttpService {
 public:
  /// `kept` is the server's own store of responses, unless `parts` has one.
  ApiServer(ModelRegistry& models, const ServerOptions& options, const base::Clock& clock, telemetry::Registry& metrics,
            const ServerParts& parts, std::unique_ptr<store::ResponseStore> kept)
      : options_(options),
        access_(options_),
        kept_(std::move(kept)),
        runs_(std::in_place),
        workers_(std::in_place, kWorkers, kMaxWaitingCalls),
        finishing_(std::in_place, 1, 2 * options_.max_connections),
        service_{models,     options_,  clock,       metrics, std::make_shared<Measures>(metrics, clock),
                 live_,      *workers_, *finishing_, *runs_,  parts.responses != nullptr ? *parts.responses : *kept_,
                 parts.tools} {}
  ~ApiServer() override;
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  Status listen();
  std::uint16_t port() const override { return port_; }
  void drain() override;

  std::optional<HttpResponse> refuse(const HttpRequest& head) override;
  void serve(HttpRequest request, std::shared_ptr<net::Exchange> exchange) override;
  HttpResponse explain(const HttpFault& fault) override;

 private:
  std::optional<HttpResponse> refuse_head(const HttpRequest& head) const;
  std::optional<HttpResponse> refuse_route(const HttpRequest& head) const;
  HttpResponse refusal(const protocol::ApiError& error, int status = 0) const;
  void on_worker(void (*serve)(Service&, const Call&), Call call);

  const ServerOptions options_;
  const Access access_;
  const std::unique_ptr<store::ResponseStore> kept_;
  LiveSubmissions live_;
  std::optional<ResponseRuns> runs_;
  std::optional<Workers> workers_;
  std::optional<Workers> finishing_;
  Service service_;
  std::unique_ptr<net::HttpServer> http_;
  std::uint16_t port_ = 0;
};

// No network first, so that nothing new comes, and nobody who waits for a model; then no workers; then no submissions,
// so that the engine knows nobody here.
ApiServer::~ApiServer() {
  http_.reset();
  service_.models.stop_waiting();
  workers_.reset();
  runs_.reset();
  live_.cancel_all();
  live_.wait_until_none(base::Time::max());
  finishing_.reset();
}

Status ApiServer::listen() {
  http_ = TRY(net::bind_http_server(http_options(options_), *this, service_.clock));
  port_ = http_->port();
  http_->start();
  return {};
}

std::optional<HttpResponse> ApiServer::refuse(const HttpRequest& head) {
  service_.measures->count_request(find_route(head.method, head.path).route);
  std::optional<HttpResponse> refused = refuse_head(head);
  if (refused) append(refused->fields, common_fields(log_refused(refused->status, head.method, head.path)));
  return refused;
}

// The checks that need no body, in the order of what they give away: nothing to a strange Host, nothing to a strange
// page, and without a key not even which paths exist.
std::optional<HttpResponse> ApiServer::refuse_head(const HttpRequest& head) const {
  if (auto good = access_.check_host(head); !good) return refusal(good.error());
  auto cors = access_.check_origin(head);
  if (!cors) return refusal(cors.error());
  std::optional<HttpResponse> refused;
  if (head.method == "OPTIONS" && head.has_field("origin") && head.has_field("access-control-request-method")) {
    refused = HttpResponse{.status = 204, .fields = preflight_fields(head), .body = {}};
    service_.measures->count_status(204);
  } else {
    refused = refuse_route(head);
  }
  if (refused) append(refused->fields, *cors);
  return refused;
}

HttpResponse ApiServer::refusal(const protocol::ApiError& error, int status) const {
  HttpResponse response = error_response(error, status);
  service_.measures->count_error(error.error.code);
  service_.measures->count_status(response.status);
  return response;
}

std::optional<HttpResponse> ApiServer::refuse_route(const HttpRequest& head) const {
  const RouteMatch match = find_route(head.method, head.path);
  const bool is_open = match.route != nullptr && !match.route->needs_key;
  if (match.route != nullptr && match.route->is_admin && access_.has_admins()) {
    if (auto admin = access_.authenticate_admin(head); !admin) return refusal({admin.error(), "invalid_api_key"});
    return std::nullopt;
  }
  if (auto caller = access_.authenticate(head); !caller && !is_open) {
    return refusal({caller.error(), "invalid_api_key"});
  }
  if (match.route == nullptr && match.allowed.empty()) {
    return refusal(Error{Code::kNotFound,
                         "there is no path " + shown(head.path) + " here; the page at / lists those that there are",
                         {}});
  }
  if (match.route == nullptr) {
    HttpResponse response =
        refusal(Error{Code::kInvalidArgument,
                      shown(head.path) + " takes " + match.allowed + " only, and not " + shown(head.method),
                      {}},
                405);
    response.fields.push_back({"Allow", match.allowed});
    return response;
  }
  if (match.route->is_admin) {
    return refusal(Error{Code::kNotFound, "the admin routes are there with --admin-key-file only", {}});
  }
  // A page of another site can make a browser POST text or a form without asking first, but not JSON.
  const bool has_body = match.route->method == "POST" && match.route->kind != RouteKind::kResponseCancel;
  if (has_body && !is_json(head.field("content-type"))) {
    return refusal(wrong_field("the Content-Type must be application/json", head.field("content-type")), 415);
  }
  if (!head.field("content-encoding").empty()) {
    return refusal(wrong_field("the body must not be compressed", head.field("content-encoding")), 415);
  }
  return std::nullopt;
}

void ApiServer::serve(HttpRequest request, std::shared_ptr<net::Exchange> exchange) {
  const RouteMatch match = find_route(request.method, request.path);
  Call call;
  call.id = new_id();
  call.tenant = access_.authenticate(request).value_or("");
  std::vector<net::HttpField> fields = access_.check_origin(request).value_or(std::vector<net::HttpField>{});
  append(fields, common_fields(call.id));
  call.reply = std::make_shared<Reply>(std::move(exchange), Asked{request.method, match.route, call.id},
                                       std::move(fields), service_.measures);
  call.request = std::move(request);
  const RouteKind kind = match.route->kind;
  if (service_.is_draining && (is_generation(kind) || kind == RouteKind::kEmbeddings || kind == RouteKind::kRerank)) {
    return call.reply->fail(Error{Code::kUnavailable, "the server takes no new requests: it is stopping", {}});
  }
  // Said before the body is read, where there is nothing that it could name.
  if (is_generation(kind) && !service_.models.has_writer()) {
    return call.reply->fail(writes_no_text(service_.models.status({})->name));
  }
  switch (kind) {
    case RouteKind::kPage:
      return serve_page(service_, call);
    case RouteKind::kHealth:
      return serve_health(service_, call);
    case RouteKind::kReady:
      return serve_ready(service_, call);
    case RouteKind::kModels:
      return serve_models(service_, call);
    case RouteKind::kModel:
      return serve_model(service_, call);
    case RouteKind::kAdminModels:
      return serve_admin_models(service_, call);
    case RouteKind::kAdminLoad:
      return serve_admin_load(service_, call);
    case RouteKind::kAdminUnload:
      return serve_admin_unload(service_, call);
    case RouteKind::kMetrics:
      service_.measures->set_connections(http_->connections(), http_->accepted());
      return on_worker(serve_metrics, std::move(call));
    case RouteKind::kResponse:
      return on_worker(serve_response, std::move(call));
    case RouteKind::kStoredResponse:
      return on_worker(serve_stored_response, std::move(call));
    case RouteKind::kResponseRemoval:
      return on_worker(serve_response_removal, std::move(call));
    case RouteKind::kResponseCancel:
      return on_worker(serve_response_cancel, std::move(call));
    case RouteKind::kInputItems:
      return on_worker(serve_input_items, std::move(call));
    case RouteKind::kChat:
      return on_worker(serve_chat, std::move(call));
    case RouteKind::kCompletion:
      return on_worker(serve_completion, std::move(call));
    case RouteKind::kEmbeddings:
      return on_worker(serve_embeddings, std::move(call));
    case RouteKind::kRerank:
      return on_worker(serve_rerank, std::move(call));
    case RouteKind::kTokenize:
      return on_worker(serve_tokenize, std::move(call));
    case RouteKind::kDetokenize:
      return on_worker(serve_detokenize, std::move(call));
  }
}

void ApiServer::on_worker(void (*serve)(Service&, const Call&), Call call) {
  const auto reply = call.reply;
  const bool is_taken = workers_->push([this, serve, call = std::move(call)] { serve(service_, call); });
  if (!is_taken) reply->fail(Error{Code::kExhausted, "too many requests wait already; try again", {}});
}

HttpResponse ApiServer::explain(const HttpFault& fault) {
  const Error error{code_of_status(fault.status), fault.message, {}};
  HttpResponse response = refusal(error, fault.status);
  const std::string id = log_refused(response.status, "-", "-");
  log_failure(error, id);
  append(response.fields, common_fields(id));
  return response;
}

void ApiServer::drain() {
  service_.is_draining = true;
  const base::Time until =
      std::chrono::time_point_cast<base::Duration>(std::chrono::steady_clock::now() + options_.drain_timeout);
  // A response may need the engine for several turns.
  if (!runs_->wait_until_none(until)) runs_->cancel_all();
  if (options_.drains_engine) service_.models.drain();
  if (!live_.wait_until_none(until)) {
    LOG_WARN("some answers were not complete after {} s and are cut off", options_.drain_timeout.count());
    live_.cancel_all();
  }
  http_->close_idle();
  http_->wait_until_none(std::chrono::steady_clock::now() + std::chrono::seconds(5));
}

// As browsers send it: SCHEME://HOST[:PORT], nothing behind it.
bool is_origin(std::string_view text) {
  const auto colon = text.find("://");
  return text == "*" || (colon != std::string_view::npos && colon > 0 && colon + 3 < text.size() &&
                         text.find_first_of("/ *", colon + 3) == std::string_view::npos);
}

Status check_access(const ServerOptions& options) {
  if (!is_loopback(options.host) && options.api_keys.empty()) {
    return fail(
        Code::kPermissionDenied,
        "listening on " + options.host + " lets others in: give API keys (--api-key-file), or listen on 127.0.0.1",
        "host");
  }
  const auto is_key = [](const std::string& key) {
    return !key.empty() && std::ranges::all_of(key, [](char c) { return c > 0x20 && c < 0x7f; });
  };
  if (!std::ranges::all_of(options.api_keys, is_key)) {
    return fail(Code::kInvalidArgument, "an API key must be visible ASCII characters", "api_keys");
  }
  if (!std::ranges::all_of(options.admin_keys, is_key)) {
    return fail(Code::kInvalidArgument, "an admin key must be visible ASCII characters", "admin_keys");
  }
  for (const std::string& origin : options.allowed_origins) {
    if (is_origin(origin)) continue;
    return fail(Code::kInvalidArgument,
                "an origin is SCHEME://HOST[:PORT], or * for all; '" + base::printable(origin, 200) +
                    "' matches none that a browser sends",
                "allowed_origins");
  }
  return {};
}

// A server with the registry of its one model.
class OneModelServer final : public Server {
 public:
  OneModelServer(std::unique_ptr<ModelRegistry> models, std::unique_ptr<Server> server)
      : models_(std::move(models)), server_(std::move(server)) {}
  std::uint16_t port() const override { return server_->port(); }
  void drain() override { server_->drain(); }

 private:
  std::unique_ptr<ModelRegistry> models_;  // outlives the server
  std::unique_ptr<Server> server_;
};

}  // namespace

Status check_options(const ServerOptions& options) {
  TRY(check_access(options));
  return net::check_address(http_options(options));
}

Result<std::unique_ptr<Server>> start_server(ModelRegistry& models, const ServerOptions& options,
                                             const base::Clock& clock, telemetry::Registry& metrics,
                                             const ServerParts& parts) {
  TRY(check_access(options));
  std::unique_ptr<store::ResponseStore> kept;
  if (parts.responses == nullptr) kept = TRY(store::ResponseStore::open(":memory:", clock));
  auto server = std::make_unique<ApiServer>(models, options, clock, metrics, parts, std::move(kept));
  TRY(server->listen());
  return server;
}

Result<std::unique_ptr<Server>> start_server(generation::Generator& generator, const ServerOptions& options,
                                             const base::Clock& clock, telemetry::Registry& metrics,
                                             const ServerParts& parts) {
  auto models = std::make_unique<ModelRegistry>(generator, clock);
  auto server = TRY(start_server(*models, options, clock, metrics, parts));
  return std::make_unique<OneModelServer>(std::move(models), std::move(server));
}

Result<std::unique_ptr<Server>> start_server(generation::Embedder& embedder, const ServerOptions& options,
                                             const base::Clock& clock, telemetry::Registry& metrics) {
  auto models = std::make_unique<ModelRegistry>(embedder, clock);
  auto server = TRY(start_server(*models, options, clock, metrics, ServerParts{}));
  return std::make_unique<OneModelServer>(std::move(models), std::move(server));
}

}  // namespace autoglm::server

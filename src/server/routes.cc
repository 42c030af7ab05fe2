// SPDX-License-Identifier: Apache-2.0
// The table of routes.
#include "server/routes.h"

namespace autoglm::server {
namespace {

constexpr Route kRoutes[] = {
    {RouteKind::kPage, "GET", "/", true, "what runs here and how to call it"},
    {RouteKind::kHealth, "GET", "/healthz", false, "200 while the process lives"},
    {RouteKind::kReady, "GET", "/readyz", true, "200 when requests are taken, 503 while draining"},
    {RouteKind::kMetrics, "GET", "/metrics", true, "figures in Prometheus' text format"},
    {RouteKind::kModels, "GET", "/v1/models", true, "the models that are served"},
    {RouteKind::kModel, "GET", "/v1/models/*", true, "one model by its name"},
    {RouteKind::kAdminModels, "GET", "/admin/models", true, "with an admin key: what is in memory, and who uses it",
     true},
    {RouteKind::kAdminLoad, "POST", "/admin/models/*/load", true, "with an admin key: loads a model", true},
    {RouteKind::kAdminUnload, "POST", "/admin/models/*/unload", true, "with an admin key: unloads a model", true},
    {RouteKind::kChat, "POST", "/v1/chat/completions", true, "answers a chat, whole or as a stream"},
    {RouteKind::kCompletion, "POST", "/v1/completions", true, "continues prompts, whole or as a stream"},
    {RouteKind::kEmbeddings, "POST", "/v1/embeddings", true, "a vector of each text, from an encoder"},
    {RouteKind::kRerank, "POST", "/v1/rerank", true, "how well each document answers a query, from a reranker"},
    {RouteKind::kResponse, "POST", "/v1/responses", true, "answers and calls tools, whole or as a stream"},
    {RouteKind::kInputItems, "GET", "/v1/responses/*/input_items", true, "what a stored response was asked"},
    {RouteKind::kStoredResponse, "GET", "/v1/responses/*", true, "a stored response"},
    {RouteKind::kResponseRemoval, "DELETE", "/v1/responses/*", true, "removes a stored response"},
    {RouteKind::kResponseCancel, "POST", "/v1/responses/*/cancel", true, "ends a response that is being made"},
    {RouteKind::kTokenize, "POST", "/tokenize", true, "text or a chat to token ids"},
    {RouteKind::kDetokenize, "POST", "/detokenize", true, "token ids to text"},
};

bool matches(std::string_view pattern, std::string_view path) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == path;
  const std::string_view before = pattern.substr(0, star), after = pattern.substr(star + 1);
  if (path.size() <= before.size() + after.size() || !path.starts_with(before) || !path.ends_with(after)) return false;
  return after.empty() || !path.substr(before.size(), path.size() - before.size() - after.size()).contains('/');
}

}  // namespace

std::span<const Route> all_routes() { return kRoutes; }

RouteMatch find_route(std::string_view method, std::string_view path) {
  RouteMatch match;
  for (const Route& route : kRoutes) {
    if (!matches(route.path, path)) continue;
    const bool is_it = route.method == method || (route.method == "GET" && method == "HEAD");
    if (is_it && match.route == nullptr) match.route = &route;
    if (!match.allowed.empty()) match.allowed += ", ";
    match.allowed += route.method;
    if (route.method == "GET") match.allowed += ", HEAD";
  }
  return match;
}

}  // namespace autoglm::server

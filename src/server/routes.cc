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
    {RouteKind::kModels, "GET", "/v1/models", true, "the model that is served"},
    {RouteKind::kModel, "GET", "/v1/models/*", true, "one model by its name"},
    {RouteKind::kChat, "POST", "/v1/chat/completions", true, "answers a chat, whole or as a stream"},
    {RouteKind::kCompletion, "POST", "/v1/completions", true, "continues prompts, whole or as a stream"},
    {RouteKind::kTokenize, "POST", "/tokenize", true, "text or a chat to token ids"},
    {RouteKind::kDetokenize, "POST", "/detokenize", true, "token ids to text"},
};

bool matches(std::string_view pattern, std::string_view path) {
  if (!pattern.ends_with('*')) return pattern == path;
  pattern.remove_suffix(1);
  return path.size() > pattern.size() && path.starts_with(pattern);
}

}  // namespace

std::span<const Route> all_routes() { return kRoutes; }

RouteMatch find_route(std::string_view method, std::string_view path) {
  RouteMatch match;
  for (const Route& route : kRoutes) {
    if (!matches(route.path, path)) continue;
    if (route.method == method || (route.method == "GET" && method == "HEAD")) match.route = &route;
    if (!match.allowed.empty()) match.allowed += ", ";
    match.allowed += route.method;
    if (route.method == "GET") match.allowed += ", HEAD";
  }
  return match;
}

}  // namespace autoglm::server

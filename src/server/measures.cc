// SPDX-License-Identifier: Apache-2.0
// Counting requests and answers.
#include "server/measures.h"

#include <string>

#include "protocol/openai_error.h"

namespace autoglm::server {
namespace {

// Every status that we send; another one is counted under "other".
constexpr int kStatuses[] = {200, 204, 400, 401, 403, 404, 405, 408, 413, 414,
                             415, 417, 429, 431, 499, 500, 501, 503, 504, 505};

}  // namespace

Measures::Measures(telemetry::Registry& registry, const base::Clock& clock)
    : clock_(clock),
      connections_(registry.gauge("openautoglm_connections")),
      connections_total_(registry.counter("openautoglm_connections_total")),
      streams_(registry.gauge("openautoglm_streams_in_flight")),
      disconnects_(registry.counter("openautoglm_disconnects_total")) {
  const auto add_route = [&](const Route* route, std::string_view name) {
    routes_[route] = {&registry.counter("openautoglm_http_requests_total", name),
                      &registry.histogram("openautoglm_http_request_seconds", name)};
  };
  for (const Route& route : all_routes()) add_route(&route, route.path);
  add_route(nullptr, "none");
  statuses_[0] = &registry.counter("openautoglm_http_responses_total", "other");
  for (int status : kStatuses)
    statuses_[status] = &registry.counter("openautoglm_http_responses_total", std::to_string(status));
  for (const auto& row : protocol::all_errors()) {
    errors_[row.code] = &registry.counter("openautoglm_errors_total", code_name(row.code));
  }
}

void Measures::count_request(const Route* route) { routes_.at(route).requests->add(); }

void Measures::count_status(int status) {
  const auto found = statuses_.find(status);
  (found == statuses_.end() ? statuses_.at(0) : found->second)->add();
}

void Measures::count_response(const Route* route, int status, base::Time since) {
  count_status(status);
  observe_seconds(route, since);
}

void Measures::observe_seconds(const Route* route, base::Time since) {
  const std::chrono::duration<double> seconds = clock_.now() - since;
  routes_.at(route).seconds->observe(seconds.count());
}

void Measures::count_error(Code code) { errors_.at(code)->add(); }

void Measures::set_connections(std::size_t open, std::size_t accepted) {
  connections_.set(static_cast<double>(open));
  connections_total_.add(static_cast<double>(accepted - accepted_.exchange(accepted)));
}

}  // namespace autoglm::server

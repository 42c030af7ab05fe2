// SPDX-License-Identifier: Apache-2.0
// The server's handles on metrics, looked up once at start: per route, per status, per code. Any thread.
#pragma once

#include <atomic>
#include <map>

#include "base/clock.h"
#include "base/result.h"
#include "server/routes.h"
#include "telemetry/metrics.h"

namespace autoglm::server {

class Measures final {
 public:
  Measures(telemetry::Registry& registry, const base::Clock& clock);

  const base::Clock& clock() const { return clock_; }
  /// `route` may be null: a path that we do not have.
  void count_request(const Route* route);
  void count_response(const Route* route, int status, base::Time since);
  void observe_seconds(const Route* route, base::Time since);
  void count_status(int status);
  void count_error(Code code);
  void count_disconnect() { disconnects_.add(); }
  void stream_started() { streams_.add(1); }
  void stream_ended() { streams_.add(-1); }
  /// Called when the figures are read.
  void set_connections(std::size_t open, std::size_t accepted);

 private:
  struct RouteHandles {
    telemetry::Counter* requests;
    telemetry::Histogram* seconds;
  };

  const base::Clock& clock_;
  std::map<const Route*, RouteHandles> routes_;
  std::map<int, telemetry::Counter*> statuses_;
  std::map<Code, telemetry::Counter*> errors_;
  telemetry::Gauge& connections_;
  telemetry::Counter& connections_total_;
  telemetry::Gauge& streams_;
  telemetry::Counter& disconnects_;
  std::atomic<std::size_t> accepted_ = 0;
};

}  // namespace autoglm::server

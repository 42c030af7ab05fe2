// SPDX-License-Identifier: Apache-2.0
// Counters, gauges and histograms in Prometheus' text format (prometheus-cpp core). Every metric of the product is
// declared in the table in metrics.cc with its help text, so that docs/metrics.md can be generated and checked. Keep
// handles; update them once a step. Any thread.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "telemetry/stages.h"

namespace autoglm::telemetry {

enum class MetricKind : unsigned char { kCounter, kGauge, kHistogram };

struct MetricSpec {
  std::string_view name;  // "openautoglm_requests_waiting"
  MetricKind kind;
  std::string_view help;
  std::string_view label;  // one label name, or empty
};

// Every metric there is.
std::span<const MetricSpec> all_metrics();

class Counter {
 public:
  virtual ~Counter() = default;
  virtual void add(double amount = 1) = 0;
};
class Gauge {
 public:
  virtual ~Gauge() = default;
  virtual void set(double value) = 0;
  virtual void add(double amount) = 0;  // negative takes away
};
class Histogram {
 public:
  virtual ~Histogram() = default;
  virtual void observe(double value) = 0;
};

class Registry;

// The figures of one model among several.
struct ModelFigures {
  std::string model;
  const Registry* registry = nullptr;
};

class Registry {
 public:
  /// `clock` times the stages and must outlive the registry.
  explicit Registry(const base::Clock& clock);
  ~Registry();
  /// Handles live as long as the registry. `name` must be in all_metrics() with this kind (a CHECK); label_value goes
  /// with its label.
  Counter& counter(std::string_view name, std::string_view label_value = {});
  Gauge& gauge(std::string_view name, std::string_view label_value = {});
  Histogram& histogram(std::string_view name, std::string_view label_value = {});
  /// Where the time goes; openautoglm_stage_seconds_total in the text below.
  Stages& stages();
  /// The exposition text for /metrics (text/plain; version=0.0.4).
  std::string expose() const;
  /// The same for a node of several models: each one's figures with its name as label "model". What they count is left
  /// out of the node's own figures.
  std::string expose(std::span<const ModelFigures> models) const;
  /// Sets every gauge to 0: what it told of is gone. Counters stay.
  void clear_gauges();

 private:
  struct Tables;
  void count_stages() const;
  std::unique_ptr<Tables> tables_;
};

}  // namespace autoglm::telemetry

// SPDX-License-Identifier: Apache-2.0
// The table of every metric and the registry over prometheus-cpp's core. Handles are looked up under a lock once and
// kept; updating one takes a lock of its own family only. Never exposes prompts, keys or client-chosen text as labels.
#include "telemetry/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <array>
#include <map>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/mutex.h"

namespace autoglm::telemetry {
namespace {

constexpr MetricKind kCounter = MetricKind::kCounter;
constexpr MetricKind kGauge = MetricKind::kGauge;
constexpr MetricKind kHistogram = MetricKind::kHistogram;

constexpr MetricSpec kMetrics[] = {
    // The engine.
    {"openautoglm_requests_waiting", kGauge, "Requests that wait for a place in the batch.", ""},
    {"openautoglm_requests_running", kGauge, "Sequences that take part in steps.", ""},
    {"openautoglm_queue_capacity", kGauge, "Waiting requests that the engine holds at most; more are refused.", ""},
    {"openautoglm_requests_submitted_total", kCounter, "Requests that the engine took in.", ""},
    {"openautoglm_requests_refused_total", kCounter, "Requests that the engine did not take in, by error code.",
     "code"},
    {"openautoglm_requests_finished_total", kCounter, "Requests that ended, by reason.", "reason"},
    {"openautoglm_steps_total", kCounter, "Forward passes.", ""},
    {"openautoglm_batch_rows", kHistogram, "Rows (tokens) of a step.", ""},
    {"openautoglm_batch_sequences", kHistogram, "Sequences of a step.", ""},
    {"openautoglm_prompt_tokens_total", kCounter, "Prompt tokens of admitted requests.", ""},
    {"openautoglm_cached_tokens_total", kCounter, "Prompt tokens whose KV was found in the prefix cache.", ""},
    {"openautoglm_generated_tokens_total", kCounter, "Tokens of answers.", ""},
    {"openautoglm_forced_tokens_total", kCounter, "Of them, tokens that a grammar forced and that were not sampled.",
     ""},
    {"openautoglm_recomputed_tokens_total", kCounter, "Tokens whose KV was computed again after preemption.", ""},
    {"openautoglm_preemptions_total", kCounter, "Sequences that gave their KV blocks to an older one.", ""},
    {"openautoglm_kv_blocks_total", kGauge, "KV blocks reserved at start.", ""},
    {"openautoglm_kv_blocks_cached", kGauge, "KV blocks that nobody holds and the prefix cache can find.", ""},
    {"openautoglm_kv_blocks_used", kGauge, "KV blocks that sequences hold.", ""},
    {"openautoglm_kv_bytes", kGauge, "Bytes of KV memory reserved at start.", ""},
    {"openautoglm_queue_seconds", kHistogram, "From submission to the first step of a request.", ""},
    {"openautoglm_time_to_first_token_seconds", kHistogram, "From submission to the first token.", ""},
    {"openautoglm_inter_token_seconds", kHistogram, "Between two tokens of one request.", ""},
    {"openautoglm_request_seconds", kHistogram, "From submission to the end of a request.", ""},
    {"openautoglm_step_seconds", kHistogram, "Duration of a step: plan, forward, sample and commit.", ""},
    {"openautoglm_stage_seconds_total", kCounter,
     "Time spent, by stage; docs/guides/performance.md says what each is and which of them overlap.", "stage"},
    // Of one model among several.
    {"openautoglm_model_bytes", kGauge, "Bytes of the model in memory; 0 = it is not; only with several models.", ""},
    {"openautoglm_model_loads_total", kCounter, "Loads of the model, by how they ended; only with several models.",
     "result"},
    {"openautoglm_model_unloads_total", kCounter,
     "How often the model left memory, because somebody asked or another one needed room; only with several models.",
     "reason"},
    {"openautoglm_model_weight", kGauge, "Weight of the model's share of the processor; only with several models.", ""},
    {"openautoglm_turn_seconds_total", kCounter,
     "Time of the model's turns on the processor; only with several models.", ""},
    {"openautoglm_turn_wait_seconds_total", kCounter,
     "Time that the model waited for its turns while others had theirs; only with several models.", ""},
    // The server.
    {"openautoglm_http_requests_total", kCounter, "HTTP requests by route.", "route"},
    {"openautoglm_http_responses_total", kCounter, "HTTP responses by status.", "status"},
    {"openautoglm_http_request_seconds", kHistogram,
     "From a request read whole to the end of its response, by route; those refused by their head are not among them.",
     "route"},
    {"openautoglm_errors_total", kCounter, "Errors returned to clients by code.", "code"},
    {"openautoglm_connections", kGauge, "Open client connections.", ""},
    {"openautoglm_connections_total", kCounter, "Client connections accepted.", ""},
    {"openautoglm_streams_in_flight", kGauge, "Streamed answers in flight.", ""},
    {"openautoglm_disconnects_total", kCounter, "Clients that left before their answer was complete.", ""},
};

const MetricSpec* find(std::string_view name) {
  for (const MetricSpec& spec : kMetrics) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

// Durations from 1 ms to 10 minutes, counts in powers of two: fixed, so that dashboards of different releases agree.
prometheus::Histogram::BucketBoundaries buckets_of(const MetricSpec& spec) {
  if (spec.name.ends_with("_seconds")) {
    return {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600};
  }
  return {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
}

class CounterHandle final : public Counter {
 public:
  explicit CounterHandle(prometheus::Counter& target) : target_(target) {}
  void add(double amount) override { target_.Increment(amount); }
  /// Counts up to `value`, unless it has been there already.
  void raise_to(double value) {
    if (value > target_.Value()) target_.Increment(value - target_.Value());
  }

 private:
  prometheus::Counter& target_;
};

class GaugeHandle final : public Gauge {
 public:
  explicit GaugeHandle(prometheus::Gauge& target) : target_(target) {}
  void set(double value) override { target_.Set(value); }
  void add(double amount) override { target_.Increment(amount); }

 private:
  prometheus::Gauge& target_;
};

class HistogramHandle final : public Histogram {
 public:
  explicit HistogramHandle(prometheus::Histogram& target) : target_(target) {}
  void observe(double value) override { target_.Observe(value); }

 private:
  prometheus::Histogram& target_;
};

using Key = std::pair<std::string, std::string>;  // name, label value
template <typename Handle>
using Handles = std::map<Key, std::unique_ptr<Handle>>;

const MetricSpec& checked_spec(std::string_view name, MetricKind kind, std::string_view label_value) {
  const MetricSpec* spec = find(name);
  CHECK(spec != nullptr && spec->kind == kind) << "metric " << name << " is not in the table with this kind";
  CHECK(spec->label.empty() == label_value.empty()) << "metric " << name << " and its label do not fit";
  return *spec;
}

prometheus::Labels labels_of(const MetricSpec& spec, std::string_view label_value) {
  if (spec.label.empty()) return {};
  return {{std::string(spec.label), std::string(label_value)}};
}

}  // namespace

std::span<const MetricSpec> all_metrics() { return kMetrics; }

struct Registry::Tables {
  explicit Tables(const base::Clock& clock) : stages(clock) {}
  Stages stages;
  std::array<CounterHandle*, kStageCount> stage_seconds{};
  base::Mutex mutex;
  prometheus::Registry registry;
  Handles<CounterHandle> counters GUARDED_BY(mutex);
  Handles<GaugeHandle> gauges GUARDED_BY(mutex);
  Handles<HistogramHandle> histograms GUARDED_BY(mutex);
};

Registry::Registry(const base::Clock& clock) : tables_(std::make_unique<Tables>(clock)) {
  for (std::size_t i = 0; i < kStageCount; ++i) {
    tables_->stage_seconds[i] =
        static_cast<CounterHandle*>(&counter("openautoglm_stage_seconds_total", all_stages()[i].name));
  }
}
Registry::~Registry() = default;

Stages& Registry::stages() { return tables_->stages; }

Counter& Registry::counter(std::string_view name, std::string_view label_value) {
  const MetricSpec& spec = checked_spec(name, kCounter, label_value);
  base::MutexLock lock(tables_->mutex);
  auto& handle = tables_->counters[{std::string(name), std::string(label_value)}];
  if (handle == nullptr) {
    auto& family =
        prometheus::BuildCounter().Name(std::string(name)).Help(std::string(spec.help)).Register(tables_->registry);
    handle = std::make_unique<CounterHandle>(family.Add(labels_of(spec, label_value)));
  }
  return *handle;
}

Gauge& Registry::gauge(std::string_view name, std::string_view label_value) {
  const MetricSpec& spec = checked_spec(name, kGauge, label_value);
  base::MutexLock lock(tables_->mutex);
  auto& handle = tables_->gauges[{std::string(name), std::string(label_value)}];
  if (handle == nullptr) {
    auto& family =
        prometheus::BuildGauge().Name(std::string(name)).Help(std::string(spec.help)).Register(tables_->registry);
    handle = std::make_unique<GaugeHandle>(family.Add(labels_of(spec, label_value)));
  }
  return *handle;
}

Histogram& Registry::histogram(std::string_view name, std::string_view label_value) {
  const MetricSpec& spec = checked_spec(name, kHistogram, label_value);
  base::MutexLock lock(tables_->mutex);
  auto& handle = tables_->histograms[{std::string(name), std::string(label_value)}];
  if (handle == nullptr) {
    auto& family =
        prometheus::BuildHistogram().Name(std::string(name)).Help(std::string(spec.help)).Register(tables_->registry);
    handle = std::make_unique<HistogramHandle>(family.Add(labels_of(spec, label_value), buckets_of(spec)));
  }
  return *handle;
}

void Registry::count_stages() const {
  base::MutexLock lock(tables_->mutex);  // two at once would both count up
  const StageTimes times = tables_->stages.read();
  for (std::size_t i = 0; i < kStageCount; ++i) {
    tables_->stage_seconds[i]->raise_to(static_cast<double>(times.stages[i].nanoseconds) * 1e-9);
  }
}

std::string Registry::expose() const {
  count_stages();
  return prometheus::TextSerializer().Serialize(tables_->registry.Collect());
}

std::string Registry::expose(std::span<const ModelFigures> models) const {
  // A family stands once in the text, with the figures of all models together.
  std::map<std::string, prometheus::MetricFamily> families;
  for (const ModelFigures& figures : models) {
    figures.registry->count_stages();
    for (prometheus::MetricFamily& family : figures.registry->tables_->registry.Collect()) {
      for (prometheus::ClientMetric& metric : family.metric) {
        metric.label.insert(metric.label.begin(), {.name = "model", .value = figures.model});
      }
      const auto [place, is_new] = families.try_emplace(family.name, family);
      if (is_new) continue;
      auto& all = place->second.metric;
      all.insert(all.end(), family.metric.begin(), family.metric.end());
    }
  }
  for (prometheus::MetricFamily& family : tables_->registry.Collect()) families.try_emplace(family.name, family);
  std::vector<prometheus::MetricFamily> in_order;
  for (auto& [name, family] : families) in_order.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(in_order);
}

void Registry::clear_gauges() {
  base::MutexLock lock(tables_->mutex);
  for (const auto& [key, gauge] : tables_->gauges) gauge->set(0);
}

}  // namespace autoglm::telemetry

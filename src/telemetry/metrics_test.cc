// SPDX-License-Identifier: Apache-2.0
// The metric table is well formed, and what is counted comes out in the exposition text.
#include "telemetry/metrics.h"

#include <gtest/gtest.h>

#include <cctype>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace autoglm::telemetry {
namespace {

const base::VirtualClock kClock;

TEST(MetricTable, NamesAreUniquePrefixedAndFollowTheUnitConvention) {
  std::set<std::string_view> seen;
  for (const MetricSpec& spec : all_metrics()) {
    EXPECT_TRUE(seen.insert(spec.name).second) << spec.name;
    EXPECT_TRUE(spec.name.starts_with("openautoglm_")) << spec.name;
    for (char c : spec.name) EXPECT_TRUE(std::islower(c) || std::isdigit(c) || c == '_') << spec.name;
    EXPECT_TRUE(spec.help.ends_with(".")) << spec.name;
    if (spec.kind == MetricKind::kCounter) EXPECT_TRUE(spec.name.ends_with("_total")) << spec.name;
  }
  EXPECT_GE(seen.size(), 20u);
}

TEST(MetricTable, EveryRowCanBeRegistered) {
  Registry registry(kClock);
  for (const MetricSpec& spec : all_metrics()) {
    const std::string_view label = spec.label.empty() ? "" : "x";
    switch (spec.kind) {
      case MetricKind::kCounter:
        registry.counter(spec.name, label).add();
        break;
      case MetricKind::kGauge:
        registry.gauge(spec.name, label).set(1);
        break;
      case MetricKind::kHistogram:
        registry.histogram(spec.name, label).observe(1);
        break;
    }
  }
  const std::string text = registry.expose();
  for (const MetricSpec& spec : all_metrics()) {
    EXPECT_NE(text.find("# HELP " + std::string(spec.name) + " " + std::string(spec.help)), std::string::npos)
        << spec.name;
  }
}

TEST(Registry, FiguresOfSeveralModelsHaveTheirNameAndOneHeading) {
  Registry node(kClock), one(kClock), two(kClock);
  node.counter("openautoglm_errors_total", "not_found").add(5);
  one.counter("openautoglm_steps_total").add(1);
  two.counter("openautoglm_steps_total").add(2);
  two.counter("openautoglm_requests_finished_total", "stop").add(3);
  two.gauge("openautoglm_requests_running").set(4);
  const ModelFigures models[] = {{.model = "a", .registry = &one}, {.model = "b \"quoted\"", .registry = &two}};
  const std::string text = node.expose(models);
  for (const char* line :
       {"openautoglm_steps_total{model=\"a\"} 1\n", "openautoglm_steps_total{model=\"b \\\"quoted\\\"\"} 2\n",
        "openautoglm_requests_finished_total{model=\"b \\\"quoted\\\"\",reason=\"stop\"} 3\n",
        "openautoglm_errors_total{code=\"not_found\"} 5\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
  const std::string heading = "# TYPE openautoglm_steps_total counter\n";
  EXPECT_NE(text.find(heading), std::string::npos);
  EXPECT_EQ(text.find(heading), text.rfind(heading));
  two.clear_gauges();
  EXPECT_NE(node.expose(models).find("openautoglm_requests_running{model=\"b \\\"quoted\\\"\"} 0\n"),
            std::string::npos);
}

TEST(Registry, CountsGaugesAndHistogramsComeOut) {
  Registry registry(kClock);
  registry.counter("openautoglm_steps_total").add(3);
  registry.counter("openautoglm_errors_total", "not_found").add();
  registry.gauge("openautoglm_requests_running").set(7);
  registry.gauge("openautoglm_requests_running").add(-2);
  registry.histogram("openautoglm_batch_rows").observe(3);
  const std::string text = registry.expose();
  EXPECT_NE(text.find("\nopenautoglm_steps_total 3\n"), std::string::npos) << text;
  EXPECT_NE(text.find("openautoglm_errors_total{code=\"not_found\"} 1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\nopenautoglm_requests_running 5\n"), std::string::npos) << text;
  EXPECT_NE(text.find("openautoglm_batch_rows_bucket{le=\"2\"} 0\n"), std::string::npos) << text;
  EXPECT_NE(text.find("openautoglm_batch_rows_bucket{le=\"4\"} 1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("openautoglm_batch_rows_count 1\n"), std::string::npos) << text;
}

TEST(Registry, TheSameNameAndLabelIsTheSameHandle) {
  Registry registry(kClock);
  EXPECT_EQ(&registry.counter("openautoglm_errors_total", "internal"),
            &registry.counter("openautoglm_errors_total", "internal"));
  EXPECT_NE(&registry.counter("openautoglm_errors_total", "internal"),
            &registry.counter("openautoglm_errors_total", "corrupt"));
}

TEST(Registry, HandlesCountFromManyThreads) {
  Registry registry(kClock);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&registry] {
      for (int i = 0; i < 1000; ++i) registry.counter("openautoglm_steps_total").add();
    });
  }
  threads.clear();
  EXPECT_NE(registry.expose().find("\nopenautoglm_steps_total 4000\n"), std::string::npos);
}

TEST(RegistryDeathTest, AnUnknownNameOrWrongKindOrLabelIsABug) {
  Registry registry(kClock);
  EXPECT_DEATH(registry.counter("openautoglm_no_such_total"), "not in the table");
  EXPECT_DEATH(registry.gauge("openautoglm_steps_total"), "not in the table");
  EXPECT_DEATH(registry.counter("openautoglm_steps_total", "x"), "do not fit");
  EXPECT_DEATH(registry.counter("openautoglm_errors_total"), "do not fit");
}

}  // namespace
}  // namespace autoglm::telemetry

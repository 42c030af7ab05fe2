// SPDX-License-Identifier: Apache-2.0
// What the stage profiler costs: nanoseconds of one stage. A forward pass enters ten a layer and three besides.
#include <benchmark/benchmark.h>

#include "telemetry/stages.h"

namespace autoglm::telemetry {
namespace {

void one_stage(benchmark::State& state) {
  const base::SystemClock clock;
  Stages stages(clock);
  for (auto _ : state) StageTimer time(&stages, Stage::kPlan);
}
BENCHMARK(one_stage);

// As a layer does it: each stage begins at the moment at which the last one ends.
void one_of_a_layer(benchmark::State& state) {
  const base::SystemClock clock;
  Stages stages(clock);
  StageTimer time(&stages, Stage::kNorm);
  Stage stage = Stage::kNorm;
  for (auto _ : state) {
    stage = stage == Stage::kNorm ? Stage::kQkv : Stage::kNorm;
    time.next(stage);
  }
}
BENCHMARK(one_of_a_layer);

}  // namespace
}  // namespace autoglm::telemetry

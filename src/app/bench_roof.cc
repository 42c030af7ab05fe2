// SPDX-License-Identifier: Apache-2.0
// The sub-verb `bench roof`: what this machine can do at best, without any model. Main thread.
#include <fmt/format.h>

#include <memory>

#include "app/bench.h"
#include "app/running_model.h"
#include "app/terminal.h"
#include "app/verb.h"
#include "base/clock.h"
#include "base/thread_pool.h"
#include "kernels/roof.h"

namespace autoglm::app {
namespace {

constexpr std::size_t kWorkingSetBytes = std::size_t{1} << 30;

Status run_roof(int threads) {
  const base::SystemClock clock;
  base::ThreadPool pool(chosen_threads(threads));
  StageLine stage;
  stage.show("measuring the roof of this machine");
  const kernels::Roof roof = kernels::measure_roof(kernels::available_isas().back(), kWorkingSetBytes, pool, clock);
  stage.show({});
  fmt::print("{:.0f} int8 GMAC/s, {:.1f} GB/s read\n", roof.int8_macs_per_second * 1e-9,
             roof.read_bytes_per_second * 1e-9);
  return {};
}

}  // namespace

void add_bench_roof(CLI::App& bench) {
  auto threads = std::make_shared<int>(0);
  CLI::App* verb = bench.add_subcommand("roof", "What this machine can do at best: multiply-adds and bytes a second");
  verb->add_option("--threads", *threads, "Threads; 0 = the physical cores left to this process")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  set_action(*verb, [threads] { return run_roof(*threads); });
}

}  // namespace autoglm::app

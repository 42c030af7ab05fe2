// SPDX-License-Identifier: Apache-2.0
// The sub-verb `bench roof`: what this machine can do at best, without any model. Main thread; a few seconds for each
// thread count.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "app/bench.h"
#include "app/build_facts.h"
#include "app/roof_report.h"
#include "app/running_model.h"
#include "app/table_style.h"
#include "app/terminal.h"
#include "app/verb.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/thread_pool.h"
#include "engine/kv_memory.h"
#include "kernels/cpu.h"
#include "kernels/roof.h"

namespace autoglm::app {
namespace {

using kernels::Arithmetic;
using kernels::Isa;

constexpr std::size_t kMebi = std::size_t{1} << 20;
// From what a core has to itself to what no cache holds.
constexpr std::size_t kWorkingSets[] = {kMebi, 8 * kMebi, 32 * kMebi, 256 * kMebi, 1024 * kMebi};
constexpr Isa kCompiledIn[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512};

struct RoofFlags {
  int threads = 0;
  bool as_json = false;
};

void measure_reads(RoofReport& report, const base::Clock& clock, StageLine& stage) {
  const Isa isa = kernels::available_isas().back();
  const std::size_t most = engine::available_bytes("/") / 2;
  for (const std::size_t bytes : kWorkingSets) {
    if (bytes > most) {
      report.skipped.push_back({fmt::format("reading {} MiB", bytes / kMebi), "not enough memory is free"});
      continue;
    }
    const kernels::Buffer memory = [&] {
      base::ThreadPool everybody(report.threads.back());  // the pages lie near those who will read them
      return kernels::make_read_memory(bytes, everybody);
    }();
    ReadRates rates{.bytes = bytes, .bytes_per_second = {}};
    for (const int threads : report.threads) {
      stage.show(
          fmt::format("reading {} MiB, {}", bytes / kMebi, count_of(static_cast<std::size_t>(threads), "thread")));
      base::ThreadPool pool(threads);  // one at a time: idle threads spin for a while
      rates.bytes_per_second.push_back(kernels::measure_read(isa, memory, pool, clock));
    }
    report.reads.push_back(std::move(rates));
  }
}

void measure_isa(Isa isa, RoofReport& report, const base::Clock& clock, StageLine& stage) {
  for (const Arithmetic arithmetic : kernels::kArithmetics) {
    const std::string name = fmt::format("{} {}", kernels::isa_name(isa), kernels::arithmetic_name(arithmetic));
    if (!kernels::has_arithmetic(isa, arithmetic)) {
      if (isa == Isa::kAvx512) report.skipped.push_back({name, "this processor lacks it"});
      continue;
    }
    MacRates rates{.isa = isa, .arithmetic = arithmetic, .macs_per_second = {}};
    for (const int threads : report.threads) {
      stage.show(fmt::format("multiplying, {}, {}", name, count_of(static_cast<std::size_t>(threads), "thread")));
      base::ThreadPool pool(threads);
      rates.macs_per_second.push_back(kernels::measure_macs(isa, arithmetic, pool, clock));
    }
    report.macs.push_back(std::move(rates));
  }
}

Status run_roof(const RoofFlags& flags) {
  const base::SystemClock clock;
  RoofReport report{.processor = kernels::cpu_features().model_name,
                    .version = fmt::format("{} ({})", kVersion, kCommit),
                    .threads = thread_steps(chosen_threads(flags.threads)),
                    .reads = {},
                    .macs = {},
                    .skipped = {}};
  StageLine stage;
  measure_reads(report, clock, stage);
  const auto available = kernels::available_isas();
  for (const Isa isa : kCompiledIn) {
    if (std::ranges::find(available, isa) == available.end()) {
      report.skipped.push_back({std::string(kernels::isa_name(isa)), "this processor lacks it"});
    } else {
      measure_isa(isa, report, clock, stage);
    }
  }
  stage.show({});
  if (flags.as_json) {
    fmt::print("{}\n", json::format(to_json(report)));
  } else {
    fmt::print("{}", format_roof(report, has_colours(STDOUT_FILENO)));
  }
  return {};
}

}  // namespace

void add_bench_roof(CLI::App& bench) {
  auto flags = std::make_shared<RoofFlags>();
  CLI::App* verb = bench.add_subcommand("roof", "What this machine can do at best: multiply-adds and bytes a second");
  verb->add_option("--threads", flags->threads, "The most threads; 0 = the physical cores left to this process")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  verb->add_flag("--json", flags->as_json, "One line of JSON instead of the table");
  set_action(*verb, [flags] { return run_roof(*flags); });
}

}  // namespace autoglm::app

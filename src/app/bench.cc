// SPDX-License-Identifier: Apache-2.0
// The verb `bench`: how fast this machine runs a model, beside what the machine could do. Main thread.
#include "app/bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "app/bench_measure.h"
#include "app/bench_report.h"
#include "app/build_facts.h"
#include "app/model_choice.h"
#include "app/running_model.h"
#include "app/terminal.h"
#include "app/verb.h"
#include "base/clock.h"
#include "base/thread_pool.h"
#include "kernels/cpu.h"
#include "kernels/roof.h"
#include "model/inspect.h"
#include "model/load.h"

namespace autoglm::app {
namespace {

// The roof of reading is measured over as many bytes as the model's weights, within these bounds: a model that fits
// into the last-level cache has a higher one.
constexpr std::size_t kLeastRoofBytes = std::size_t{16} << 20;
constexpr std::size_t kMostRoofBytes = std::size_t{1} << 30;

struct BenchOptions {
  std::string model;
  std::string compute = "fast";
  std::string kv_type = "f16";
  std::string isa;
  int threads = 0;
  bool as_json = false;
  bool may_pull = false;
  BenchPlan plan;
};

Result<model::LoadOptions> load_options(const BenchOptions& options) {
  model::LoadOptions load;
  load.isa = TRY(chosen_isa(options.isa));
  TRY(choose_precision(options.compute, options.kv_type, load));
  load.threads = chosen_threads(options.threads);
  return load;
}

Status run_bench(const BenchOptions& options) {
  if (options.model.empty()) return fail(Code::kInvalidArgument, "bench needs a model", "--model");
  const base::SystemClock clock;
  telemetry::Stages stages(clock);  // of nobody's interest, but counted as in a server
  model::LoadOptions load = TRY(load_options(options));
  load.stages = &stages;
  const ModelChoice choice = TRY(choose_model(options.model, options.may_pull));
  if (choice.kind == ModelKind::kScript) {
    return fail(Code::kInvalidArgument, "a scripted model computes nothing that could be measured", "--model");
  }
  StageLine stage;
  const model::ModelFacts facts = TRY(model::inspect_model(choice.path, load));
  BenchReport report{.model = choice.name,
                     .architecture = facts.architecture,
                     .processor = kernels::cpu_features().model_name,
                     .isa = std::string(kernels::isa_name(load.isa)),
                     .compute = options.compute,
                     .kv_type = options.compute == "exact" ? "f32" : options.kv_type,
                     .version = std::string(kVersion) + " (" + kCommit + ")",
                     .threads = load.threads,
                     .depth = options.plan.depth,
                     .load_seconds = 0,
                     .roof = {},
                     .cost = token_cost(facts),
                     .results = {}};
  {
    stage.show("measuring the roof of this machine");
    base::ThreadPool pool(load.threads);  // gone before the model's own starts: its threads would spin beside them
    const auto weight_bytes = static_cast<std::size_t>(report.cost.weight_bytes);
    report.roof =
        kernels::measure_roof(load.isa, std::clamp(weight_bytes, kLeastRoofBytes, kMostRoofBytes), pool, clock);
  }
  stage.show("loading " + choice.name);
  const base::Time start = clock.now();
  const auto network = TRY(model::load_network(choice.path, load));
  report.load_seconds = std::chrono::duration<double>(clock.now() - start).count();
  report.results = TRY(measure_network(*network, options.plan, clock, [&](BenchKind kind, std::size_t batch) {
    stage.show(fmt::format("measuring {}, batch {}", bench_kind_name(kind), batch));
  }));
  stage.show("");
  if (options.as_json) {
    fmt::print("{}\n", json::format(to_json(report)));
  } else {
    fmt::print("{}", format_table(report, has_colours(STDOUT_FILENO)));
  }
  return {};
}

// A flag of `bench` before a sub-verb would be read by nobody.
void add_sub_verbs(CLI::App& bench) {
  bench.require_subcommand(0, 1);
  const auto flags = bench.get_options([](const CLI::Option* flag) { return !flag->check_lname("help"); });
  add_bench_roof(bench);
  add_bench_stages(bench);
  add_bench_headline(bench);
  add_bench_embed(bench);
  for (CLI::App* verb : bench.get_subcommands([](const CLI::App*) { return true; })) {
    for (CLI::Option* flag : flags) verb->excludes(flag);
  }
}

}  // namespace

void add_bench(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* verb = app.add_subcommand("bench", "Measure prefill and decode beside what this machine could do");
  verb->add_option("--model", options->model, "A model's name or path");
  verb->add_option("--prefill", options->plan.prefill_tokens, "Tokens of the fresh prompt; 0 leaves it out")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  verb->add_option("--decode", options->plan.decode_steps, "Decode steps; 0 leaves them out")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  verb->add_option("--batch", options->plan.batches, "Sequences that decode together, as 1,8,32")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  verb->add_option("--depth", options->plan.depth, "Tokens in each context before the first decode step")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  verb->add_option("--max-batch-tokens", options->plan.max_batch_tokens, "Rows of one step; a longer prompt is cut")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  add_threads(*verb, options->threads);
  add_compute(*verb, options->compute);
  add_kv_type(*verb, options->kv_type);
  add_isa(*verb, options->isa);
  verb->add_option("--rounds", options->plan.rounds, "Measured rounds; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  verb->add_flag("--json", options->as_json, "One line of JSON instead of the table");
  add_may_pull(*verb, options->may_pull);
  add_sub_verbs(*verb);
  set_action(*verb, [verb, options]() -> Status {
    if (!verb->get_subcommands().empty()) return {};
    return run_bench(*options);
  });
}

}  // namespace autoglm::app

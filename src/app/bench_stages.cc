// SPDX-License-Identifier: Apache-2.0
// The sub-verb `bench stages`: where the time of a prompt and of a decode step goes. Main thread.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "app/bench.h"
#include "app/bench_stages_measure.h"
#include "app/build_facts.h"
#include "app/model_choice.h"
#include "app/running_model.h"
#include "app/terminal.h"
#include "app/verb.h"
#include "base/thread_pool.h"
#include "model/inspect.h"
#include "model/load.h"

namespace autoglm::app {
namespace {

// As `bench`: the roof of reading is that of as many bytes as the weights have.
constexpr std::size_t kLeastReadBytes = std::size_t{16} << 20;
constexpr std::size_t kMostReadBytes = std::size_t{1} << 30;

struct StagesFlags {
  std::string model;
  std::string compute = "fast";
  std::string isa;
  int threads = 0;
  bool as_json = false;
  bool may_pull = false;
  StagesPlan plan;
};

struct StagesHead {
  std::string model;
  std::string architecture;
  std::string compute;
  std::string isa;
  int threads = 1;
  kernels::Roof roof;
  telemetry::StageTimes loading;
};

void print_tables(const StagesHead& head, const std::vector<StageReport>& reports) {
  fmt::print("{}  {}, {}, {}, {} thread{}\n{}; roof: {:.0f} int8 GMAC/s, {:.1f} GB/s read; {}\n", head.model,
             head.architecture, head.compute, head.isa, head.threads, head.threads == 1 ? "" : "s",
             kernels::cpu_features().model_name, head.roof.int8_macs_per_second * 1e-9,
             head.roof.read_bytes_per_second * 1e-9, format_loading(head.loading));
  for (const StageReport& report : reports) fmt::print("\n{}", format_stages(report, has_colours(STDOUT_FILENO)));
}

void print_json(const StagesHead& head, const std::vector<StageReport>& reports) {
  json::Array phases;
  for (const StageReport& report : reports) {
    json::Object phase = stages_to_json(report);
    phase["phase"] = report.title.substr(0, report.title.find(','));
    phases.push_back(std::move(phase));
  }
  const auto seconds_of = [&](telemetry::Stage stage) {
    return static_cast<double>(head.loading[stage].nanoseconds) * 1e-9;
  };
  const json::Object object{
      {"model", head.model},
      {"architecture", head.architecture},
      {"version", std::string(kVersion) + " (" + kCommit + ")"},
      {"compute", head.compute},
      {"machine",
       json::Object{{"processor", kernels::cpu_features().model_name}, {"isa", head.isa}, {"threads", head.threads}}},
      {"roof", json::Object{{"int8_macs_per_second", head.roof.int8_macs_per_second},
                            {"read_bytes_per_second", head.roof.read_bytes_per_second}}},
      {"load_seconds", json::Object{{"tokenizer", seconds_of(telemetry::Stage::kLoadTokenizer)},
                                    {"weights", seconds_of(telemetry::Stage::kLoadWeights)}}},
      {"phases", std::move(phases)}};
  fmt::print("{}\n", json::format(object));
}

Status run_stages(const StagesFlags& flags) {
  const base::SystemClock clock;
  telemetry::Registry registry(clock);
  model::LoadOptions load;
  load.isa = TRY(chosen_isa(flags.isa));
  load.compute = flags.compute == "exact" ? kernels::Compute::kExact : kernels::Compute::kFast;
  load.threads = chosen_threads(flags.threads);
  load.stages = &registry.stages();
  const ModelChoice choice = TRY(choose_model(flags.model, flags.may_pull));
  if (choice.kind == ModelKind::kScript) {
    return fail(Code::kInvalidArgument, "a scripted model computes nothing that could be measured", "--model");
  }
  const model::ModelFacts facts = TRY(model::inspect_model(choice.path, load));
  StagesHead head{.model = choice.name,
                  .architecture = facts.architecture,
                  .compute = flags.compute,
                  .isa = std::string(kernels::isa_name(load.isa)),
                  .threads = load.threads};
  StageLine line;
  line.show("measuring the roof of this machine");
  {
    base::ThreadPool pool(load.threads);  // gone before the model's own starts: its threads would spin beside them
    const auto bytes = std::clamp(static_cast<std::size_t>(facts.packed_bytes), kLeastReadBytes, kMostReadBytes);
    head.roof = kernels::measure_roof(load.isa, bytes, pool, clock);
  }
  line.show("loading " + choice.name);
  model::LoadedModel loaded = TRY(model::load_model(choice.path, load));
  head.loading = registry.stages().read();
  engine::EngineModel model;
  model.network = std::move(loaded.network);
  model.card.tokenizer = std::move(loaded.tokenizer);
  const auto reports = TRY(measure_stages(model, flags.plan, head.roof, registry, clock,
                                          [&](std::string_view what) { line.show("measuring " + std::string(what)); }));
  line.show({});
  if (flags.as_json) {
    print_json(head, reports);
  } else {
    print_tables(head, reports);
  }
  return {};
}

}  // namespace

void add_bench_stages(CLI::App& bench) {
  auto flags = std::make_shared<StagesFlags>();
  CLI::App* verb = bench.add_subcommand("stages", "Where the time of a prompt and of a decode step goes");
  verb->add_option("--model", flags->model, "A model's name or path")->required();
  verb->add_option("--prefill", flags->plan.prefill_tokens, "Tokens of each prompt; 0 leaves prefill out")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  verb->add_option("--decode", flags->plan.decode_steps, "Decode steps; 0 leaves them out")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  verb->add_option("--batch", flags->plan.batch, "Sequences that decode together")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  verb->add_option("--depth", flags->plan.depth, "Tokens in each context before the first decode step, at least 1")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  verb->add_option("--max-batch-tokens", flags->plan.max_batch_tokens, "Rows of one step; a longer prompt is cut")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  add_threads(*verb, flags->threads);
  add_compute(*verb, flags->compute);
  add_isa(*verb, flags->isa);
  verb->add_option("--rounds", flags->plan.rounds, "Prompts, and runs of decode steps; their mean counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  verb->add_flag("--json", flags->as_json, "One line of JSON instead of the tables");
  add_may_pull(*verb, flags->may_pull);
  set_action(*verb, [flags] { return run_stages(*flags); });
}

}  // namespace autoglm::app

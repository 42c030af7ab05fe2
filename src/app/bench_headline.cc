// SPDX-License-Identifier: Apache-2.0
// The sub-verb `bench headline`: one closed load on three engines of one model, from plain F32 weights that serve one
// request at a time to the file's own type with everything batched. Main thread.
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <optional>

#include "app/bench.h"
#include "app/build_facts.h"
#include "app/closed_load.h"
#include "app/headline_report.h"
#include "app/model_choice.h"
#include "app/running_model.h"
#include "app/terminal.h"
#include "app/verb.h"
#include "base/json.h"
#include "engine/engine.h"
#include "kernels/cpu.h"
#include "model/inspect.h"
#include "model/load.h"

namespace autoglm::app {
namespace {

struct HeadlineFlags {
  std::string model;
  bool may_pull = false;
  int threads = 0;
  std::string isa;
  bool as_json = false;
  LoadPlan plan;
};

// How one row runs the model.
struct Variant {
  std::string weights;
  std::optional<kernels::DType> type;
  kernels::Compute compute;
  bool is_batched;
};

std::vector<Variant> variants(const model::ModelFacts& facts) {
  return {{"F32", kernels::DType::kF32, kernels::Compute::kExact, false},
          {"F16", kernels::DType::kF16, kernels::Compute::kFast, true},
          {facts.types.front().type + " as stored", {}, kernels::Compute::kFast, true}};
}

std::size_t resident_bytes() {
  std::size_t all_pages = 0, resident_pages = 0;
  std::ifstream("/proc/self/statm") >> all_pages >> resident_pages;
  return resident_pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

Result<std::unique_ptr<generation::Generator>> start_variant(const Variant& variant, const ModelChoice& choice,
                                                             model::LoadOptions load, const LoadPlan& plan,
                                                             const base::Clock& clock, telemetry::Registry& metrics) {
  load.compute = variant.compute;
  load.weights_as = variant.type;
  model::LoadedModel loaded = TRY(model::load_model(choice.path, load));
  engine::EngineModel model;
  model.network = std::move(loaded.network);
  model.card.name = choice.name;
  model.card.tokenizer = std::move(loaded.tokenizer);
  model.eos = std::move(loaded.eos);
  engine::EngineOptions options;
  options.max_batch_size = variant.is_batched ? plan.clients : 1;
  options.queue_capacity = plan.clients;
  options.context_length = plan.prompt_tokens + plan.answer_tokens;
  options.has_prefix_cache = false;  // no two prompts are alike: it would only cost
  return engine::start_engine(std::move(model), options, clock, metrics);
}

Result<HeadlineRow> measure_row(const Variant& variant, const ModelChoice& choice, const model::LoadOptions& load,
                                const LoadPlan& plan, StageLine& stage) {
  const base::SystemClock clock;
  telemetry::Registry metrics(clock);
  HeadlineRow row{.weights = variant.weights,
                  .batching = variant.is_batched ? "batched" : "one at a time",
                  .compute = variant.compute == kernels::Compute::kExact ? "exact" : "fast",
                  .resident_bytes = 0,
                  .load = {}};
  stage.show(fmt::format("{}, {}: loading", row.weights, row.batching));
  const auto engine = TRY(start_variant(variant, choice, load, plan, clock, metrics));
  row.resident_bytes = resident_bytes();
  row.load = TRY(measure_closed_load(*engine, plan, clock, [&](std::size_t done, std::size_t total) {
    stage.show(fmt::format("{}, {}: {} of {} requests", row.weights, row.batching, done, total));
  }));
  return row;
}

Status run_headline(const HeadlineFlags& flags) {
  model::LoadOptions load;
  load.isa = TRY(chosen_isa(flags.isa));
  load.threads = chosen_threads(flags.threads);
  const ModelChoice choice = TRY(choose_model(flags.model, flags.may_pull));
  if (choice.kind == ModelKind::kScript) {
    return fail(Code::kInvalidArgument, "a scripted model computes nothing that could be measured", "--model");
  }
  const model::ModelFacts facts = TRY(model::inspect_model(choice.path, load));
  const std::size_t context = flags.plan.prompt_tokens + flags.plan.answer_tokens;
  if (context > facts.context_length) {
    return fail(
        Code::kInvalidArgument,
        fmt::format("prompt and answer are {} tokens; the model's context is {}", context, facts.context_length),
        "--prompt");
  }
  HeadlineReport report{.model = choice.name,
                        .architecture = facts.architecture,
                        .processor = kernels::cpu_features().model_name,
                        .isa = std::string(kernels::isa_name(load.isa)),
                        .version = fmt::format("{} ({})", kVersion, kCommit),
                        .threads = load.threads,
                        .plan = flags.plan,
                        .rows = {}};
  StageLine stage;
  for (const Variant& variant : variants(facts)) {
    report.rows.push_back(TRY(measure_row(variant, choice, load, flags.plan, stage)));
  }
  stage.show({});
  if (flags.as_json) {
    fmt::print("{}\n", json::format(to_json(report)));
  } else {
    fmt::print("{}", format_headline(report, has_colours(STDOUT_FILENO)));
  }
  return {};
}

}  // namespace

void add_bench_headline(CLI::App& bench) {
  auto flags = std::make_shared<HeadlineFlags>();
  CLI::App* verb = bench.add_subcommand(
      "headline", "Latency and requests a second: plain F32 one by one, F16 batched, the file's own type batched");
  verb->add_option("--model", flags->model, "A model's name or path")->required();
  add_may_pull(*verb, flags->may_pull);
  verb->add_option("--clients", flags->plan.clients, "Clients, each of which asks again once it has its answer")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  verb->add_option("--requests", flags->plan.requests, "Of each client, after a first that does not count")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  verb->add_option("--prompt", flags->plan.prompt_tokens, "Tokens of a prompt")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  verb->add_option("--answer", flags->plan.answer_tokens, "Tokens of an answer")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  add_threads(*verb, flags->threads);
  add_isa(*verb, flags->isa);
  verb->add_flag("--json", flags->as_json, "One line of JSON instead of the table");
  set_action(*verb, [flags] { return run_headline(*flags); });
}

}  // namespace autoglm::app

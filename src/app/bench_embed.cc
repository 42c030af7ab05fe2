// SPDX-License-Identifier: Apache-2.0
// The sub-verb `bench embed`: one closed load on an encoder, by one client, by many one text at a time, and by many
// batched. Main thread.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <utility>

#include "app/bench.h"
#include "app/build_facts.h"
#include "app/embed_report.h"
#include "app/model_choice.h"
#include "app/running_model.h"
#include "app/terminal.h"
#include "app/verb.h"
#include "base/json.h"
#include "engine/embedding_engine.h"
#include "kernels/cpu.h"
#include "model/inspect.h"
#include "model/load_encoder.h"

namespace autoglm::app {
namespace {

struct EmbedFlags {
  std::string model;
  bool may_pull = false;
  int threads = 0;
  std::string isa;
  std::string compute = "fast";
  bool as_json = false;
  std::size_t max_batch_size = 32;
  int batch_timeout_ms = kEncoderTimeoutMs;
  EmbeddingLoadPlan plan;
};

Result<EmbedRow> measure_row(const EmbedFlags& flags, const std::filesystem::path& path, const model::LoadOptions& load,
                             std::size_t clients, std::size_t max_batch_size, StageLine& stage) {
  const base::SystemClock clock;
  telemetry::Registry metrics(clock);
  model::LoadedEncoder loaded = TRY(model::load_encoder(path, load));
  EmbeddingLoadPlan plan = flags.plan;
  plan.clients = clients;
  plan.vocab = loaded.network->vocab();
  engine::EmbeddingEngineModel model{.network = std::move(loaded.network), .card = {}};
  model.card.context_length = std::max(loaded.context_length, plan.tokens);
  model.card.tokenizer = std::move(loaded.tokenizer);
  const auto embedder =
      TRY(engine::start_embedding_engine(std::move(model),
                                         {.max_batch_size = max_batch_size,
                                          .batch_timeout = std::chrono::milliseconds(flags.batch_timeout_ms),
                                          .queue_capacity = clients},
                                         clock, metrics));
  EmbedRow row{.clients = clients, .max_batch_size = max_batch_size, .load = {}};
  row.load = TRY(measure_embedding_load(*embedder, plan, clock, [&](std::size_t done, std::size_t total) {
    if (done % 16 == 0)
      stage.show(fmt::format("{} clients, batches of {}: {} of {}", clients, max_batch_size, done, total));
  }));
  return row;
}

Status run_embed(const EmbedFlags& flags) {
  model::LoadOptions load;
  load.isa = TRY(chosen_isa(flags.isa));
  TRY(choose_precision(flags.compute, "f16", load));
  load.threads = chosen_threads(flags.threads);
  const ModelChoice choice = TRY(choose_model(flags.model, flags.may_pull));
  const bool makes_vectors = choice.kind == ModelKind::kCheckpoint && TRY(model::is_encoder(choice.path));
  if (!makes_vectors) return fail(Code::kInvalidArgument, "this is no encoder: it makes no embeddings", "--model");
  const model::ModelFacts facts = TRY(model::inspect_model(choice.path, load));
  if (flags.plan.tokens > facts.context_length) {
    return fail(Code::kInvalidArgument,
                fmt::format("texts of {} tokens; the model takes {}", flags.plan.tokens, facts.context_length),
                "--tokens");
  }
  EmbedReport report{.model = choice.name,
                     .architecture = facts.architecture,
                     .processor = kernels::cpu_features().model_name,
                     .isa = std::string(kernels::isa_name(load.isa)),
                     .compute = flags.compute,
                     .version = fmt::format("{} ({})", kVersion, kCommit),
                     .threads = load.threads,
                     .tokens = flags.plan.tokens,
                     .requests = flags.plan.requests,
                     .batch_timeout_ms = flags.batch_timeout_ms,
                     .rows = {}};
  StageLine stage;
  const std::size_t clients = flags.plan.clients;
  for (const auto& [many, batch] :
       {std::pair<std::size_t, std::size_t>{1, 1}, {clients, 1}, {clients, flags.max_batch_size}}) {
    report.rows.push_back(TRY(measure_row(flags, choice.path, load, many, batch, stage)));
  }
  stage.show({});
  if (flags.as_json) {
    fmt::print("{}\n", json::format(to_json(report)));
  } else {
    fmt::print("{}", format_embed(report));
  }
  return {};
}

}  // namespace

void add_bench_embed(CLI::App& bench) {
  auto flags = std::make_shared<EmbedFlags>();
  CLI::App* verb = bench.add_subcommand(
      "embed", "Texts a second and latency of an encoder: one client, many one by one, many batched");
  verb->add_option("--model", flags->model, "An encoder's name or path")->required();
  add_may_pull(*verb, flags->may_pull);
  verb->add_option("--clients", flags->plan.clients, "Clients, each of which asks again once it has its answer")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  verb->add_option("--requests", flags->plan.requests, "Of each client, after a first that does not count")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  verb->add_option("--tokens", flags->plan.tokens, "Tokens of a text")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  verb->add_option("--max-batch-size", flags->max_batch_size, "Texts of a batch")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  verb->add_option("--batch-timeout-ms", flags->batch_timeout_ms, "Longest wait of a lonely request for company")
      ->check(CLI::Range(0, 60'000))
      ->capture_default_str();
  add_threads(*verb, flags->threads);
  add_compute(*verb, flags->compute);
  add_isa(*verb, flags->isa);
  verb->add_flag("--json", flags->as_json, "One line of JSON instead of the table");
  set_action(*verb, [flags] { return run_embed(*flags); });
}

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
#include "app/running_model.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "app/model_choice.h"
#include "app/settings.h"
#include "app/terminal.h"
#include "app/text_file.h"
#include "base/log.h"
#include "base/thread_pool.h"
#include "engine/block_pool.h"
#include "engine/embedding_engine.h"
#include "engine/engine.h"
#include "model/inspect.h"
#include "model/load.h"
#include "model/load_encoder.h"

namespace autoglm::app {
namespace {

struct Opened {
  engine::EngineModel model;
  std::size_t weight_bytes = 0;
  std::string weights;  // one line for people
};

Result<Opened> open_script(const ModelChoice& choice) {
  auto script = engine::load_script(TRY(read_text_file(choice.path, "the script", {})));
  if (!script) return fail_in("the script " + base::printable(choice.path.string()), script.error());
  Opened opened;
  opened.model = std::move(*script);
  opened.weights = "none: a script answers";
  return opened;
}

Result<model::LoadOptions> load_options(const EngineFlags& flags) {
  model::LoadOptions options;
  options.isa = TRY(chosen_isa(flags.isa));
  TRY(choose_precision(flags.compute, flags.kv_type, options));
  options.threads = chosen_threads(flags.threads);
  options.context_length = flags.context_length;
  options.weights_as = flags.weights_as;
  return options;
}

Result<Opened> open_checkpoint(const ModelChoice& choice, const EngineFlags& flags, telemetry::Stages& stages) {
  model::LoadOptions options = TRY(load_options(flags));
  options.stages = &stages;
  const auto started = std::chrono::steady_clock::now();
  const model::ModelFacts facts = TRY(model::inspect_model(choice.path, options));
  model::LoadedModel loaded = TRY(model::load_model(choice.path, options));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  Opened opened;
  opened.model.network = std::move(loaded.network);
  opened.model.card.tokenizer = std::move(loaded.tokenizer);
  opened.model.card.chat_template = std::move(loaded.chat_template);
  opened.model.card.template_shows_tools = loaded.tool_format.has_value();
  if (loaded.tool_format) opened.model.card.tool_format = *loaded.tool_format;
  opened.model.eos = std::move(loaded.eos);
  opened.weight_bytes = facts.packed_bytes;
  opened.weights = fmt::format("{} of weights ({}, {} parameters), loaded in {:.1f} s",
                               format_bytes(facts.packed_bytes), facts.architecture, facts.parameters, seconds);
  return opened;
}

// An option of the engine that is refused is a flag that was used wrongly.
template <typename T>
Result<T> as_flag(Result<T> made) {
  if (!made && made.error().where == "context_length") made.error().where = "--context-length";
  return made;
}

std::string describe(const Opened& opened, const EngineFlags& flags, const generation::ModelCard& card) {
  const int threads = chosen_threads(flags.threads);
  return fmt::format(
      "model     {}\n"
      "weights   {}\n"
      "KV memory {} for {} tokens in {}\n"
      "context   {} tokens\n"
      "computing {}, {} thread{}, {}\n",
      card.name, opened.weights, format_bytes(card.kv_bytes), card.kv_tokens,
      flags.compute == "exact" ? "f32" : flags.kv_type, card.context_length, flags.compute, threads,
      threads == 1 ? "" : "s", flags.isa.empty() ? kernels::isa_name(kernels::available_isas().back()) : flags.isa);
}

}  // namespace

Result<kernels::Isa> chosen_isa(const std::string& name) {
  if (name.empty()) return kernels::available_isas().back();
  auto isa = kernels::isa_from_name(name);
  if (!isa) return fail(isa.error().code, isa.error().message, "--isa");
  return isa;
}

void add_kv_type(CLI::App& verb, std::string& kv_type) {
  verb.add_option("--kv-type", kv_type, "What --compute fast keeps keys and values in: f16, or int8 in half the memory")
      ->check(CLI::IsMember({"f16", "int8"}))
      ->capture_default_str();
}

void add_may_pull(CLI::App& verb, bool& may_pull) {
  verb.add_flag("--yes", may_pull, "Pull the model without asking when it is not here");
}

void add_threads(CLI::App& verb, int& threads) {
  verb.add_option("--threads", threads, "Threads; 0 = the physical cores left to this process")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
}

void add_compute(CLI::App& verb, std::string& compute) {
  verb.add_option("--compute", compute, "fast (may round activations and KV) or exact (f32 throughout)")
      ->check(CLI::IsMember({"fast", "exact"}))
      ->capture_default_str();
}

void add_isa(CLI::App& verb, std::string& isa) {
  verb.add_option("--isa", isa, "Force an instruction set: scalar, avx2 or avx512");
}

Status choose_precision(const std::string& compute, const std::string& kv_type, model::LoadOptions& options) {
  const bool is_exact = compute == "exact";
  const bool is_int8 = kv_type == "int8";
  if (is_exact && is_int8) {
    return fail(Code::kInvalidArgument, "--compute exact keeps keys and values in f32: int8 goes with --compute fast",
                "--kv-type");
  }
  options.compute = is_exact ? kernels::Compute::kExact : kernels::Compute::kFast;
  options.kv_type = is_int8 ? kernels::KvType::kInt8 : kernels::KvType::kF16;
  return {};
}

int chosen_threads(int threads) { return threads > 0 ? threads : base::usable_cores(); }

void add_engine_flags(CLI::App& verb, EngineFlags& flags, EngineUse use) {
  constexpr const char* kModel =
      "A name of `list --all`, a GGUF file, a safetensors folder, hf:ORG/NAME[:FILE] or scripted:FILE";
  if (use == EngineUse::kServer) {
    verb.add_option("--model,MODEL", flags.models, std::string(kModel) + "; several are served together");
  } else {
    auto* model = verb.add_option(use == EngineUse::kAgent ? "--model" : "--model,MODEL", flags.model, kModel);
    if (!flags.model.empty()) model->capture_default_str();
  }
  add_may_pull(verb, flags.may_pull);
  add_running_flags(verb, flags, use);
  verb.add_option("--log-level", flags.log_level, "trace, debug (a line for each request), info, warn, error or off")
      ->capture_default_str();
  verb.add_option("--config", flags.config, "A TOML file with a line for any of these flags (max_batch_size = 8)")
      ->type_name("FILE");
}

void add_running_flags(CLI::App& verb, EngineFlags& flags, EngineUse use) {
  add_threads(verb, flags.threads);
  add_compute(verb, flags.compute);
  add_kv_type(verb, flags.kv_type);
  add_isa(verb, flags.isa);
  verb.add_option("--context-length", flags.context_length, "Longest sequence in tokens; 0 = the model's own")
      ->check(CLI::Range(std::size_t{0}, std::size_t{1} << 24))
      ->capture_default_str();
  verb.add_option("--kv-memory", flags.kv_memory,
                  "KV memory reserved at start, as 512M or 2G; default: by the machine's memory");
  if (use == EngineUse::kServer) {
    verb.add_option("--max-batch-size", flags.max_batch_size, "Sequences that run together")
        ->check(CLI::Range(1, 4096))
        ->capture_default_str();
    verb.add_option("--max-batch-tokens", flags.max_batch_tokens,
                    "Rows of one step; longer prompts are cut into chunks")
        ->check(CLI::Range(1, 65536))
        ->capture_default_str();
    verb.add_option("--batch-timeout-ms", flags.batch_timeout_ms,
                    "Longest wait of a lonely request for company; default: 0, and 50 for an encoder")
        ->check(CLI::Range(0, 60'000));
    verb.add_option("--queue-capacity", flags.queue_capacity, "Waiting requests; more are refused with 429")
        ->check(CLI::Range(1, 1 << 20))
        ->capture_default_str();
  }
  verb.add_option("--prefix-cache", flags.has_prefix_cache,
                  "Find the KV of earlier prompts and answers again; changes times, never an answer")
      ->capture_default_str();
  verb.add_option("--jump-forward", flags.has_jump_forward,
                  "Take what a grammar leaves no choice about without sampling it token by token")
      ->capture_default_str();
}

Status read_settings(CLI::App& verb, EngineFlags& flags, json::Array* tables) {
  if (!flags.config.empty()) TRY(apply_settings_file(verb, flags.config, tables));
  if (auto level = base::set_log_level(flags.log_level); !level) {
    return fail(Code::kInvalidArgument, level.error().message, "--log-level");
  }
  return {};
}

namespace {

// Chosen, and the means to run it.
struct Chosen {
  ModelChoice choice;
  RunningModel running;
};

Result<Chosen> choose(const EngineFlags& flags) {
  TRY(chosen_isa(flags.isa));
  Chosen chosen{.choice = TRY(choose_model(flags.model, flags.may_pull)), .running = {}};
  if (is_terminal(STDERR_FILENO))
    fmt::print(stderr, "{}", dim(fmt::format("loading {} ...\n", chosen.choice.name), STDERR_FILENO));
  chosen.running.clock = std::make_unique<base::SystemClock>();
  chosen.running.metrics = std::make_unique<telemetry::Registry>(*chosen.running.clock);
  return chosen;
}

Result<engine::EngineOptions> engine_options(const EngineFlags& flags, const EngineSurroundings& surroundings) {
  engine::EngineOptions options;
  options.kv_bytes = flags.kv_memory.empty() ? surroundings.kv_bytes : TRY(parse_bytes(flags.kv_memory));
  options.context_length = flags.context_length;
  options.max_batch_size = flags.max_batch_size;
  if (surroundings.max_concurrency > 0) {
    options.max_batch_size = std::min(options.max_batch_size, surroundings.max_concurrency);
  }
  options.max_batch_tokens = flags.max_batch_tokens;
  options.batch_timeout = std::chrono::milliseconds(flags.batch_timeout_ms.value_or(0));
  options.queue_capacity = flags.queue_capacity;
  options.has_prefix_cache = flags.has_prefix_cache;
  options.has_jump_forward = flags.has_jump_forward;
  options.turns = surroundings.turns;
  options.weight = surroundings.weight;
  return options;
}

Result<StartedEngine> start_generator(const ModelChoice& choice, const EngineFlags& flags,
                                      const EngineSurroundings& surroundings) {
  const engine::EngineOptions options = TRY(engine_options(flags, surroundings));
  Opened opened =
      TRY(as_flag(choice.kind == ModelKind::kScript ? open_script(choice)
                                                    : open_checkpoint(choice, flags, surroundings.metrics.stages())));
  opened.model.card.name = surroundings.name;
  opened.model.card.created_unix_seconds = surroundings.clock.unix_seconds();
  StartedEngine started;
  started.generator =
      TRY(as_flag(engine::start_engine(std::move(opened.model), options, surroundings.clock, surroundings.metrics)));
  started.bytes = opened.weight_bytes + started.generator->card().kv_bytes;
  started.summary = describe(opened, flags, started.generator->card());
  return started;
}

std::string describe_encoder(const EngineFlags& flags, const generation::EmbedderCard& card,
                             const model::ModelFacts& facts) {
  const int threads = chosen_threads(flags.threads);
  return fmt::format(
      "model     {}\n"
      "weights   {} ({}, {} parameters)\n"
      "vectors   {}\n"
      "texts     up to {} tokens\n"
      "computing {}, {} thread{}, {}\n",
      card.name, format_bytes(facts.packed_bytes), facts.architecture, facts.parameters, facts.embedding,
      card.context_length, flags.compute, threads, threads == 1 ? "" : "s",
      flags.isa.empty() ? kernels::isa_name(kernels::available_isas().back()) : flags.isa);
}

Result<StartedEngine> start_encoder(const ModelChoice& choice, const EngineFlags& flags,
                                    const EngineSurroundings& surroundings) {
  model::LoadOptions load = TRY(load_options(flags));
  load.stages = &surroundings.metrics.stages();
  model::LoadedEncoder loaded = TRY(as_flag(model::load_encoder(choice.path, load)));
  const model::ModelFacts facts = TRY(model::inspect_model(choice.path, load));
  engine::EmbeddingEngineModel model;
  model.network = std::move(loaded.network);
  model.card.name = surroundings.name;
  model.card.created_unix_seconds = surroundings.clock.unix_seconds();
  model.card.context_length = loaded.context_length;
  model.card.is_normalised = loaded.settings.is_normalised;
  model.card.dimensions = loaded.settings.dimensions;
  model.card.may_cut_anywhere = loaded.settings.may_cut_anywhere;
  model.card.tokenizer = std::move(loaded.tokenizer);
  if (loaded.is_reranker) {
    model.card.pairs = TRY(generation::make_pair_frame(*model.card.tokenizer, loaded.separators));
  }
  const engine::EmbeddingOptions options{
      .max_batch_size = flags.max_batch_size,
      .max_batch_tokens = flags.max_batch_tokens,
      .batch_timeout = std::chrono::milliseconds(flags.batch_timeout_ms.value_or(kEncoderTimeoutMs)),
      .queue_capacity = flags.queue_capacity,
      .max_requests = surroundings.max_concurrency,
      .turns = surroundings.turns,
      .weight = surroundings.weight};
  StartedEngine started;
  started.embedder =
      TRY(engine::start_embedding_engine(std::move(model), options, surroundings.clock, surroundings.metrics));
  started.bytes = facts.packed_bytes;
  started.summary = describe_encoder(flags, started.embedder->card(), facts);
  return started;
}

// The one model of a process, with what it needs.
Result<RunningModel> with_engine(Chosen chosen, Result<StartedEngine> started) {
  if (!started) return std::unexpected(std::move(started).error());
  chosen.running.generator = std::move(started->generator);
  chosen.running.embedder = std::move(started->embedder);
  chosen.running.summary = std::move(started->summary);
  return std::move(chosen.running);
}

EngineSurroundings surroundings_of(const Chosen& chosen, std::size_t max_concurrency = 0) {
  return {.clock = *chosen.running.clock,
          .metrics = *chosen.running.metrics,
          .name = chosen.choice.name,
          .max_concurrency = max_concurrency};
}

}  // namespace

Result<bool> is_encoder(const ModelChoice& choice) {
  if (choice.kind == ModelKind::kScript) return false;
  return model::is_encoder(choice.path);
}

Result<StartedEngine> start_chosen(const ModelChoice& choice, const EngineFlags& flags,
                                   const EngineSurroundings& surroundings) {
  return TRY(is_encoder(choice)) ? start_encoder(choice, flags, surroundings)
                                 : start_generator(choice, flags, surroundings);
}

Result<std::size_t> needed_bytes(const ModelChoice& choice, const EngineFlags& flags,
                                 const EngineSurroundings& surroundings) {
  const engine::EngineOptions options = TRY(engine_options(flags, surroundings));
  const auto kv = [&](std::size_t block_bytes, std::size_t context) {
    const std::size_t length = flags.context_length > 0 ? std::min(flags.context_length, context) : context;
    const std::size_t blocks = (length + engine::kBlockTokens - 1) / engine::kBlockTokens * options.max_batch_size;
    return std::min(options.kv_bytes, blocks * block_bytes);
  };
  if (choice.kind == ModelKind::kScript) {
    const Opened opened = TRY(open_script(choice));
    return kv(opened.model.network->kv_bytes_per_block(), opened.model.network->context_length());
  }
  const model::LoadOptions load = TRY(load_options(flags));
  const model::ModelFacts facts = TRY(model::inspect_model(choice.path, load));
  if (!facts.embedding.empty()) return facts.packed_bytes;
  return facts.packed_bytes + kv(facts.kv_bytes_per_token * engine::kBlockTokens, facts.context_length);
}

Result<RunningModel> start_model(const EngineFlags& flags) {
  Chosen chosen = TRY(choose(flags));
  auto started = start_generator(chosen.choice, flags, surroundings_of(chosen));
  return with_engine(std::move(chosen), std::move(started));
}

Result<RunningModel> start_any_model(const EngineFlags& flags, std::size_t max_concurrency) {
  Chosen chosen = TRY(choose(flags));
  auto started = start_chosen(chosen.choice, flags, surroundings_of(chosen, max_concurrency));
  return with_engine(std::move(chosen), std::move(started));
}

}  // namespace autoglm::app

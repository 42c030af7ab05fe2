// SPDX-License-Identifier: Apache-2.0
// From flags to a Generator that runs: what `serve` and `run` share. Main thread.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/model_choice.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "engine/compute_turns.h"
#include "generation/embedder.h"
#include "generation/generator.h"
#include "kernels/cpu.h"
#include "kernels/dtype.h"
#include "model/load.h"
#include "telemetry/metrics.h"

namespace autoglm::app {

inline constexpr int kEncoderTimeoutMs = 50;

struct EngineFlags {
  std::string model;                // of a verb that runs one
  std::vector<std::string> models;  // of a server
  bool may_pull = false;
  int threads = 0;
  std::string compute = "fast";
  std::string kv_type = "f16";
  std::string isa;
  std::size_t context_length = 0;
  std::string kv_memory;
  std::size_t max_batch_size = 32;
  std::size_t max_batch_tokens = 512;
  std::optional<int> batch_timeout_ms;  // nothing = 0, or for an encoder kEncoderTimeoutMs
  std::size_t queue_capacity = 256;
  bool has_prefix_cache = true;
  bool has_jump_forward = true;
  std::optional<kernels::DType> weights_as;  // as in model::LoadOptions; set by the Python package
  std::string log_level = "info";
  std::string config;
};

// What a verb does with the engine: a server batches; a chat names its model by position, an agent its task.
enum class EngineUse : std::uint8_t { kChat, kServer, kAgent };

/// Adds the flags that say which model runs and how.
void add_engine_flags(CLI::App& verb, EngineFlags& flags, EngineUse use);
/// Of these, the flags of how it runs: what each of several models may have of its own.
void add_running_flags(CLI::App& verb, EngineFlags& flags, EngineUse use);

struct RunningModel {
  std::unique_ptr<base::SystemClock> clock;
  std::unique_ptr<telemetry::Registry> metrics;
  std::unique_ptr<generation::Generator> generator;  // uses both, as does the embedder; null for an encoder
  std::unique_ptr<generation::Embedder> embedder;    // null for a model that writes text
  std::string summary;                               // several lines for people
};

/// Gives the flags what the settings file says, and the log its level. First of all: what is asked of the flags counts
/// only after it. `tables` as in apply_settings().
Status read_settings(CLI::App& verb, EngineFlags& flags, json::Array* tables = nullptr);

/// Chooses (and pulls) the model, loads it and starts its engine. An encoder is kInvalidArgument here.
Result<RunningModel> start_model(const EngineFlags& flags);
/// The same for whichever kind it is. `max_concurrency` as in EngineSurroundings.
Result<RunningModel> start_any_model(const EngineFlags& flags, std::size_t max_concurrency = 0);

// What an engine is started with besides its flags. All of it outlives the engine.
struct EngineSurroundings {
  const base::Clock& clock;
  telemetry::Registry& metrics;
  std::string name;                       // as clients call the model
  std::size_t max_concurrency = 0;        // requests at work at once; 0 = what max_batch_size says
  std::size_t kv_bytes = 0;               // where the flags say nothing; 0 = by the machine's memory
  engine::ComputeTurns* turns = nullptr;  // shared with other models; null = it has the processor
  double weight = 1;                      // of its turns
};

struct StartedEngine {
  std::unique_ptr<generation::Generator> generator;  // null for an encoder
  std::unique_ptr<generation::Embedder> embedder;    // null for a model that writes text
  std::size_t bytes = 0;                             // weights and KV memory
  std::string summary;                               // several lines for people
};

Result<bool> is_encoder(const ModelChoice& choice);
/// Loads what was chosen and starts its engine.
Result<StartedEngine> start_chosen(const ModelChoice& choice, const EngineFlags& flags,
                                   const EngineSurroundings& surroundings);
/// The bytes that start_chosen() will take at most, without loading anything.
Result<std::size_t> needed_bytes(const ModelChoice& choice, const EngineFlags& flags,
                                 const EngineSurroundings& surroundings);

// Each adds a flag: --kv-type, --yes, --threads, --compute, --isa.
void add_kv_type(CLI::App& verb, std::string& kv_type);
void add_may_pull(CLI::App& verb, bool& may_pull);
void add_threads(CLI::App& verb, int& threads);
void add_compute(CLI::App& verb, std::string& compute);
void add_isa(CLI::App& verb, std::string& isa);

/// Gives `options` what --compute and --kv-type say. Errors: kInvalidArgument (int8 beside exact).
Status choose_precision(const std::string& compute, const std::string& kv_type, model::LoadOptions& options);

/// Instruction set and thread count that the flags ask for.
///   Errors   kInvalidArgument, kUnavailable (this processor lacks it)
Result<kernels::Isa> chosen_isa(const std::string& name);
int chosen_threads(int threads);

}  // namespace autoglm::app

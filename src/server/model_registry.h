// SPDX-License-Identifier: Apache-2.0
// The models of a node: which there are, which of them are in memory, and who uses them. Loads one when it is asked
// for, within one memory budget, and for that unloads those that were used least recently; never one in use. One
// background thread loads and unloads. Any thread. (docs/decisions/0016-several-models.md)
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "generation/embedder.h"
#include "generation/generator.h"
#include "telemetry/metrics.h"

namespace autoglm::server {

// A model as the routes see it while it is in memory.
struct ServedModel {
  generation::Generator& generator;          // of an encoder: one that only refuses
  generation::Embedder* embedder = nullptr;  // null = it writes text
  std::size_t most_bytes_of_a_token = 0;     // 0 = not known
  std::string fingerprint;                   // of the model and how it is run

  const generation::ModelCard& card() const { return generator.card(); }
};

// While somebody has one the model stays in memory. A request has one until its answer is complete.
using ModelLease = std::shared_ptr<const ServedModel>;

// What loading a model gives: one of the two.
struct ModelParts {
  std::unique_ptr<generation::Generator> generator;
  std::unique_ptr<generation::Embedder> embedder;
  std::size_t bytes = 0;  // weights and KV memory
};

struct ModelSpec {
  std::string name;  // as clients call it; unique
  std::int64_t created_unix_seconds = 0;
  bool is_encoder = false;
  double weight = 1;                                  // of its share of the processor
  std::size_t max_concurrency = 0;                    // requests of it at work at once
  telemetry::Registry* metrics = nullptr;             // its own, also while it is not in memory; may be null
  std::function<Result<std::size_t>()> needed_bytes;  // what load() will take at most, found out cheaply
  std::function<Result<ModelParts>()> load;           // empty = it is there and stays
};

enum class ModelState : std::uint8_t { kUnloaded, kLoading, kLoaded, kUnloading };
std::string_view word_of(ModelState state);

struct ModelStatus {
  std::string name;
  std::int64_t created_unix_seconds = 0;
  bool is_encoder = false;
  ModelState state = ModelState::kUnloaded;
  double weight = 1;
  std::size_t max_concurrency = 0;
  std::size_t bytes = 0;           // in memory, or being loaded
  std::size_t uses = 0;            // requests that have it
  std::size_t waiting = 0;         // requests that wait for it to be loaded
  std::size_t context_length = 0;  // 0 = not known before it is loaded
  std::string error;               // why the latest load failed; empty = it did not
};

struct ModelRegistryOptions {
  std::size_t memory_budget = 0;                        // bytes of all models together; 0 = no bound
  std::size_t max_waiting = 512;                        // requests that wait for models together; more are refused
  base::Duration failed_for = std::chrono::seconds(5);  // so long a failed load is not tried again by requests
};

class ModelRegistry final {
 public:
  /// Hears of a load on the background thread, or on that of stop_waiting(): a lease, or why there is none.
  using OnLoaded = std::function<void(Result<ModelLease>)>;
  /// Hears that the model is out of memory, on the background thread or the caller's own; or that we stop.
  using OnUnloaded = std::function<void(Status)>;

  /// Nothing is loaded yet. `clock` must outlive it. At least one model; the first one is the default.
  ModelRegistry(std::vector<ModelSpec> models, const ModelRegistryOptions& options, const base::Clock& clock);
  /// One model that is there and stays; it must outlive the leases.
  ModelRegistry(generation::Generator& generator, const base::Clock& clock);
  ModelRegistry(generation::Embedder& embedder, const base::Clock& clock);
  /// Ends the engines and with them what they are at.
  ~ModelRegistry();
  ModelRegistry(const ModelRegistry&) = delete;
  ModelRegistry& operator=(const ModelRegistry&) = delete;

  /// The model of this name (empty = the default) when it is in memory. When it is not, null: it is being loaded, and
  /// `later` hears of it.
  ///   Errors   kNotFound; kUnavailable (we stop, or its load has just failed); kExhausted (too many wait)
  Result<ModelLease> acquire(std::string_view name, OnLoaded later);
  /// The model when it is in memory, else null; loads nothing.
  ModelLease find_loaded(std::string_view name) const;
  /// Loads it unless it is there, and tries again what has failed. `done` hears of it, perhaps before this returns.
  ///   Errors   as acquire(); those of loading come to `done`: kExhausted with the figures when it does not fit, and
  ///            what loading says
  Status load(std::string_view name, OnLoaded done);
  /// Takes no more requests for it; those that have it go on, and with the last one it leaves. `done` hears of it.
  ///   Errors   kNotFound; kUnavailable (it is just being loaded); kInvalidArgument (it stays)
  Status unload(std::string_view name, OnUnloaded done);

  std::vector<ModelStatus> list() const;  // in the order of the specs
  /// Errors: kNotFound.
  Result<ModelStatus> status(std::string_view name) const;
  std::size_t size() const;
  bool has_writer() const;  // a model that is no encoder
  std::size_t memory_budget() const;
  std::size_t used_bytes() const;
  /// Of those that are models of several; in their order.
  std::vector<telemetry::ModelFigures> figures() const;

  /// False while draining, or while one that is loaded takes no requests.
  bool is_ready() const;
  /// The engines refuse new requests, nothing is loaded any more, and who waits for a load is told.
  void drain();
  /// Tells those who wait that we stop; then nobody is called any more.
  void stop_waiting();

 private:
  struct Model;
  struct Shared;
  struct Held;
  struct Task;

  void add_resident(generation::Generator* generator, generation::Embedder* embedder);
  void work();
  std::optional<Task> next_task();
  void load_now(Model& model);
  Status make_room(Model& model, std::size_t bytes);
  void end_load(Model& model, Result<ModelParts> parts);
  void end(Model& model, std::string_view reason);
  void end_calls();

  const std::shared_ptr<Shared> shared_;  // leases may outlive us
  std::thread thread_;                    // none where nothing can be loaded
};

}  // namespace autoglm::server

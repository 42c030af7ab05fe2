// SPDX-License-Identifier: Apache-2.0
#include "server/model_registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <deque>
#include <exception>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/mutex.h"
#include "server/access.h"
#include "server/no_generator.h"
#include "text/tokenizer.h"

namespace autoglm::server {
namespace {

// Names the model and its limits: an answer with the same seed is the same under the same fingerprint.
std::string fingerprint_of(const generation::ModelCard& card) {
  const KeyDigest digest = digest_of(card.name + "\n" + std::to_string(card.context_length) + "\n" +
                                     std::to_string(card.tokenizer->vocab()));
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "fp_%02x%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3],
                digest[4]);
  return text.data();
}

ServedModel served_model(generation::Generator& generator, generation::Embedder* embedder) {
  return {.generator = generator,
          .embedder = embedder,
          .most_bytes_of_a_token = text::most_bytes_of_a_token(*generator.card().tokenizer),
          .fingerprint = fingerprint_of(generator.card())};
}

Error we_stop() { return {Code::kUnavailable, "the server takes no new requests: it is stopping", {}}; }

Error not_served(std::string_view name) {
  return {Code::kNotFound, "the model \"" + std::string(name) + "\" is not served here; /v1/models says which is",
          "model"};
}

void count(telemetry::Registry* metrics, std::string_view name, std::string_view label = {}) {
  if (metrics != nullptr) metrics->counter(name, label).add();
}

}  // namespace

std::string_view word_of(ModelState state) {
  switch (state) {
    case ModelState::kUnloaded:
      return "unloaded";
    case ModelState::kLoading:
      return "loading";
    case ModelState::kLoaded:
      return "loaded";
    case ModelState::kUnloading:
      return "unloading";
  }
  return "unloaded";
}

// What goes when a model leaves memory. Ending an engine takes a step's time: never under the lock.
struct ModelRegistry::Held {
  ModelParts parts;
  std::unique_ptr<NoGenerator> refusing;
};

struct ModelRegistry::Model {
  explicit Model(ModelSpec of) : spec(std::move(of)) {}

  const ModelSpec spec;
  ModelState state = ModelState::kUnloaded;
  Held held;
  std::optional<ServedModel> served;
  std::size_t bytes = 0;
  std::size_t context_length = 0;
  std::size_t uses = 0;
  base::Time last_used{};
  std::vector<OnLoaded> waiting;
  std::vector<OnUnloaded> leaving;
  std::string error;
  base::Time failed_at{};
  std::optional<std::size_t> needed_bytes;  // once it was found out; the background thread's own
};

struct ModelRegistry::Task {
  Model* model = nullptr;
  bool is_load = false;
};

struct ModelRegistry::Shared : std::enable_shared_from_this<Shared> {
  Shared(const ModelRegistryOptions& with, const base::Clock& by) : options(with), clock(by) {}

  const ModelRegistryOptions options;
  const base::Clock& clock;
  mutable base::Mutex mutex;
  std::condition_variable changed;
  std::deque<Model> models;                     // fixed once made; what is in them is guarded
  std::deque<Model*> wanted GUARDED_BY(mutex);  // to be loaded, in the order of asking
  std::size_t waiting GUARDED_BY(mutex) = 0;    // of all models together
  bool is_draining GUARDED_BY(mutex) = false;
  bool is_stopping GUARDED_BY(mutex) = false;
  bool is_calling GUARDED_BY(mutex) = false;  // somebody who waited is being told

  Model* find(std::string_view name) REQUIRES(mutex);
  ModelLease lease(Model& model) REQUIRES(mutex);
  void give_back(Model& model) EXCLUDES(mutex);
  void want(Model& model) REQUIRES(mutex);
  std::size_t used_bytes() const REQUIRES(mutex);
  std::vector<OnLoaded> take_waiting(Model& model) REQUIRES(mutex);
  ModelStatus status(const Model& model) const REQUIRES(mutex);
};

ModelRegistry::Model* ModelRegistry::Shared::find(std::string_view name) {
  if (name.empty()) return &models.front();
  const auto found =
      std::ranges::find(models, name, [](const Model& model) { return std::string_view(model.spec.name); });
  return found == models.end() ? nullptr : &*found;
}

ModelLease ModelRegistry::Shared::lease(Model& model) {
  ++model.uses;
  model.last_used = clock.now();
  return {&*model.served, [self = shared_from_this(), &model](const ServedModel*) { self->give_back(model); }};
}

void ModelRegistry::Shared::give_back(Model& model) {
  base::MutexLock lock(mutex);
  --model.uses;
  model.last_used = clock.now();
  if (model.state == ModelState::kUnloading && model.uses == 0) changed.notify_all();
}

void ModelRegistry::Shared::want(Model& model) {
  if (model.state == ModelState::kLoading || std::ranges::find(wanted, &model) != wanted.end()) return;
  wanted.push_back(&model);
  changed.notify_all();
}

std::size_t ModelRegistry::Shared::used_bytes() const {
  std::size_t bytes = 0;
  for (const Model& model : models) bytes += model.bytes;
  return bytes;
}

std::vector<ModelRegistry::OnLoaded> ModelRegistry::Shared::take_waiting(Model& model) {
  waiting -= model.waiting.size();
  return std::exchange(model.waiting, {});
}

ModelStatus ModelRegistry::Shared::status(const Model& model) const {
  return {.name = model.spec.name,
          .created_unix_seconds = model.spec.created_unix_seconds,
          .is_encoder = model.spec.is_encoder,
          .state = model.state,
          .weight = model.spec.weight,
          .max_concurrency = model.spec.max_concurrency,
          .bytes = model.bytes,
          .uses = model.uses,
          .waiting = model.waiting.size(),
          .context_length = model.served ? model.served->card().context_length : model.context_length,
          .error = model.error};
}

// --- making and ending -----------------------------------------------------------------------------------------------

ModelRegistry::ModelRegistry(std::vector<ModelSpec> models, const ModelRegistryOptions& options,
                             const base::Clock& clock)
    : shared_(std::make_shared<Shared>(options, clock)) {
  CHECK(!models.empty());
  for (ModelSpec& spec : models) shared_->models.emplace_back(std::move(spec));
  thread_ = std::thread([this] { work(); });
}

ModelRegistry::ModelRegistry(generation::Generator& generator, const base::Clock& clock)
    : shared_(std::make_shared<Shared>(ModelRegistryOptions{}, clock)) {
  add_resident(&generator, nullptr);
}

ModelRegistry::ModelRegistry(generation::Embedder& embedder, const base::Clock& clock)
    : shared_(std::make_shared<Shared>(ModelRegistryOptions{}, clock)) {
  add_resident(nullptr, &embedder);
}

void ModelRegistry::add_resident(generation::Generator* generator, generation::Embedder* embedder) {
  std::unique_ptr<NoGenerator> refusing;
  if (embedder != nullptr) refusing = std::make_unique<NoGenerator>(*embedder);
  if (generator == nullptr) generator = refusing.get();
  const generation::ModelCard& card = generator->card();
  ModelSpec spec{.name = card.name,
                 .created_unix_seconds = card.created_unix_seconds,
                 .is_encoder = embedder != nullptr,
                 .max_concurrency = card.max_batch_size};
  Model& model = shared_->models.emplace_back(std::move(spec));
  model.served.emplace(served_model(*generator, embedder));
  model.held.refusing = std::move(refusing);
  model.context_length = card.context_length;
  model.state = ModelState::kLoaded;
}

ModelRegistry::~ModelRegistry() {
  stop_waiting();
  if (thread_.joinable()) {
    {
      base::MutexLock lock(shared_->mutex);
      shared_->is_stopping = true;
      shared_->changed.notify_all();
    }
    thread_.join();
  }
  std::vector<Held> ending;
  base::MutexLock lock(shared_->mutex);
  for (Model& model : shared_->models) {
    // Leases that are left belong to what the engines are at, and end with them.
    if (model.spec.load) ending.push_back(std::move(model.held));
  }
}

// --- asking ----------------------------------------------------------------------------------------------------------

Result<ModelLease> ModelRegistry::acquire(std::string_view name, OnLoaded later) {
  base::MutexLock lock(shared_->mutex);
  Model* const model = shared_->find(name);
  if (model == nullptr) return std::unexpected(not_served(name));
  if (model->state == ModelState::kLoaded) return shared_->lease(*model);
  if (shared_->is_draining) return std::unexpected(we_stop());
  if (!model->error.empty() && model->state == ModelState::kUnloaded &&
      shared_->clock.now() < model->failed_at + shared_->options.failed_for) {
    return fail(Code::kUnavailable, "the model \"" + model->spec.name + "\" could not be loaded; the log says why",
                "model");
  }
  if (shared_->waiting >= shared_->options.max_waiting) {
    return fail(Code::kExhausted,
                fmt::format("{} requests wait for models to be loaded already; try again later", shared_->waiting));
  }
  ++shared_->waiting;
  model->waiting.push_back(std::move(later));
  shared_->want(*model);
  return ModelLease();
}

ModelLease ModelRegistry::find_loaded(std::string_view name) const {
  base::MutexLock lock(shared_->mutex);
  Model* const model = shared_->find(name);
  if (model == nullptr || model->state != ModelState::kLoaded) return nullptr;
  return shared_->lease(*model);
}

Status ModelRegistry::load(std::string_view name, OnLoaded done) {
  {
    base::MutexLock lock(shared_->mutex);
    Model* const model = shared_->find(name);
    if (model != nullptr) model->failed_at = shared_->clock.now() - shared_->options.failed_for;
  }
  ModelLease lease = TRY(acquire(name, done));
  if (lease != nullptr) done(std::move(lease));
  return {};
}

Status ModelRegistry::unload(std::string_view name, OnUnloaded done) {
  {
    base::MutexLock lock(shared_->mutex);
    Model* const model = shared_->find(name);
    if (model == nullptr) return std::unexpected(not_served(name));
    if (!model->spec.load) return fail(Code::kInvalidArgument, "this model stays in memory", "model");
    if (model->state == ModelState::kLoading) {
      return fail(Code::kUnavailable, "the model \"" + model->spec.name + "\" is just being loaded; try again",
                  "model");
    }
    if (shared_->is_draining) return std::unexpected(we_stop());
    if (model->state != ModelState::kUnloaded) {
      model->state = ModelState::kUnloading;
      model->leaving.push_back(std::move(done));
      shared_->changed.notify_all();
      return {};
    }
  }
  done({});
  return {};
}

std::vector<ModelStatus> ModelRegistry::list() const {
  base::MutexLock lock(shared_->mutex);
  std::vector<ModelStatus> all;
  for (const Model& model : shared_->models) all.push_back(shared_->status(model));
  return all;
}

Result<ModelStatus> ModelRegistry::status(std::string_view name) const {
  base::MutexLock lock(shared_->mutex);
  const Model* const model = shared_->find(name);
  if (model == nullptr) return std::unexpected(not_served(name));
  return shared_->status(*model);
}

std::size_t ModelRegistry::size() const { return shared_->models.size(); }

bool ModelRegistry::has_writer() const {
  return std::ranges::any_of(shared_->models, [](const Model& model) { return !model.spec.is_encoder; });
}

std::size_t ModelRegistry::memory_budget() const { return shared_->options.memory_budget; }

std::size_t ModelRegistry::used_bytes() const {
  base::MutexLock lock(shared_->mutex);
  return shared_->used_bytes();
}

std::vector<telemetry::ModelFigures> ModelRegistry::figures() const {
  std::vector<telemetry::ModelFigures> all;
  for (const Model& model : shared_->models) {
    if (model.spec.metrics != nullptr) all.push_back({.model = model.spec.name, .registry = model.spec.metrics});
  }
  return all;
}

bool ModelRegistry::is_ready() const {
  base::MutexLock lock(shared_->mutex);
  return !shared_->is_draining && std::ranges::all_of(shared_->models, [](const Model& model) {
    return model.state != ModelState::kLoaded || model.served->generator.is_ready();
  });
}

void ModelRegistry::drain() {
  {
    base::MutexLock lock(shared_->mutex);
    for (Model& model : shared_->models) {
      if (model.served) model.served->generator.drain();
    }
  }
  stop_waiting();
}

void ModelRegistry::stop_waiting() {
  std::vector<OnLoaded> waiting;
  std::vector<OnUnloaded> leaving;
  {
    base::MutexLock lock(shared_->mutex);
    shared_->is_draining = true;
    shared_->wanted.clear();
    for (Model& model : shared_->models) {
      for (OnLoaded& each : shared_->take_waiting(model)) waiting.push_back(std::move(each));
      for (OnUnloaded& each : std::exchange(model.leaving, {})) leaving.push_back(std::move(each));
    }
    while (shared_->is_calling) lock.wait(shared_->changed);
  }
  for (const OnLoaded& each : waiting) each(std::unexpected(we_stop()));
  for (const OnUnloaded& each : leaving) each(std::unexpected(we_stop()));
}

// --- the background thread -------------------------------------------------------------------------------------------

void ModelRegistry::work() {
  while (const auto task = next_task()) {
    task->is_load ? load_now(*task->model) : end(*task->model, "asked");
  }
}

std::optional<ModelRegistry::Task> ModelRegistry::next_task() {
  base::MutexLock lock(shared_->mutex);
  while (!shared_->is_stopping) {
    for (Model& model : shared_->models) {
      if (model.state == ModelState::kUnloading && model.uses == 0) return Task{.model = &model, .is_load = false};
    }
    for (auto at = shared_->wanted.begin(); at != shared_->wanted.end(); ++at) {
      if ((*at)->state != ModelState::kUnloaded) continue;  // it has to leave first
      const Task task{.model = *at, .is_load = true};
      shared_->wanted.erase(at);
      task.model->state = ModelState::kLoading;
      return task;
    }
    lock.wait(shared_->changed);
  }
  return std::nullopt;
}

void ModelRegistry::load_now(Model& model) {
  const auto made = [&]() -> Result<ModelParts> {
    try {
      if (!model.needed_bytes) model.needed_bytes = TRY(model.spec.needed_bytes());
      TRY(make_room(model, *model.needed_bytes));
      return model.spec.load();
    } catch (const std::bad_alloc&) {
      return fail(Code::kExhausted, "there is not enough memory for that");
    } catch (const std::exception& thrown) {
      return fail(Code::kInternal, thrown.what());
    }
  };
  LOG_DEBUG("loading the model {}", base::printable(model.spec.name));
  end_load(model, made());
}

// Out of those that nobody uses, and only when that is enough.
Status ModelRegistry::make_room(Model& model, std::size_t bytes) {
  for (;;) {
    Model* oldest = nullptr;
    {
      base::MutexLock lock(shared_->mutex);
      const std::size_t budget = shared_->options.memory_budget;
      if (budget == 0 || shared_->used_bytes() + bytes <= budget) {
        model.bytes = bytes;
        return {};
      }
      std::size_t in_use = 0;
      std::string users;
      for (Model& other : shared_->models) {
        if (other.bytes == 0) continue;
        if (other.state == ModelState::kLoaded && other.uses == 0) {
          if (oldest == nullptr || other.last_used < oldest->last_used) oldest = &other;
          continue;
        }
        in_use += other.bytes;
        users += (users.empty() ? "" : ", ") + other.spec.name;
      }
      if (in_use + bytes > budget) {
        return fail(Code::kExhausted,
                    fmt::format("the model \"{}\" needs {} bytes of the {} that all models may have together{}",
                                model.spec.name, bytes, budget,
                                in_use == 0 ? "" : fmt::format(", and {} are in use by {}", in_use, users)),
                    "model");
      }
      oldest->state = ModelState::kUnloading;
    }
    end(*oldest, "memory");
  }
}

void ModelRegistry::end_load(Model& model, Result<ModelParts> parts) {
  telemetry::Registry* const metrics = model.spec.metrics;
  Held held;
  std::optional<ServedModel> served;
  if (parts) {
    held.parts = std::move(*parts);
    generation::Embedder* const embedder = held.parts.embedder.get();
    if (embedder != nullptr) held.refusing = std::make_unique<NoGenerator>(*embedder);
    served.emplace(served_model(embedder != nullptr ? *held.refusing : *held.parts.generator, embedder));
    if (metrics != nullptr) {
      metrics->gauge("openautoglm_model_bytes").set(static_cast<double>(held.parts.bytes));
    }
  } else if (parts.error().code != Code::kExhausted) {  // who is refused for want of room is told, and asks again
    LOG_ERROR("the model {} could not be loaded: {}", base::printable(model.spec.name),
              base::printable(parts.error().message, 1000));
  }
  count(metrics, "openautoglm_model_loads_total", parts ? "loaded" : "failed");
  std::vector<OnLoaded> waiting;
  std::vector<Result<ModelLease>> results;
  {
    base::MutexLock lock(shared_->mutex);
    waiting = shared_->take_waiting(model);
    model.bytes = held.parts.bytes;
    if (served) {
      model.held = std::move(held);
      model.served.emplace(*served);
      model.context_length = served->card().context_length;
      model.error.clear();
      model.last_used = shared_->clock.now();
      model.state = ModelState::kLoaded;
      if (shared_->is_draining) model.served->generator.drain();
    } else {
      model.error = parts.error().message;
      const bool may_try_again = parts.error().code == Code::kExhausted;
      model.failed_at = shared_->clock.now() - (may_try_again ? shared_->options.failed_for : base::Duration(0));
      model.state = ModelState::kUnloaded;
    }
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      results.push_back(served ? Result<ModelLease>(shared_->lease(model)) : std::unexpected(parts.error()));
    }
    shared_->is_calling = true;
  }
  for (std::size_t i = 0; i < waiting.size(); ++i) waiting[i](std::move(results[i]));
  end_calls();
}

// Of a model that is to leave and that nobody has. Until its engine is gone its memory counts.
void ModelRegistry::end(Model& model, std::string_view reason) {
  telemetry::Registry* const metrics = model.spec.metrics;
  Held ending;
  {
    base::MutexLock lock(shared_->mutex);
    CHECK(model.state == ModelState::kUnloading && model.uses == 0) << model.spec.name;
    model.served.reset();
    ending = std::exchange(model.held, {});
  }
  ending = {};
  LOG_DEBUG("unloaded the model {} ({})", base::printable(model.spec.name), reason);
  if (metrics != nullptr) metrics->clear_gauges();
  count(metrics, "openautoglm_model_unloads_total", reason);
  std::vector<OnUnloaded> leaving;
  {
    base::MutexLock lock(shared_->mutex);
    model.bytes = 0;
    model.state = ModelState::kUnloaded;
    leaving = std::exchange(model.leaving, {});
    shared_->is_calling = true;
  }
  for (const OnUnloaded& each : leaving) each({});
  end_calls();
}

void ModelRegistry::end_calls() {
  base::MutexLock lock(shared_->mutex);
  shared_->is_calling = false;
  shared_->changed.notify_all();
}

}  // namespace autoglm::server

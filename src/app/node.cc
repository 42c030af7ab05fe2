// SPDX-License-Identifier: Apache-2.0
#include "app/node.h"

#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <utility>

#include "app/key_file.h"
#include "app/settings.h"
#include "app/terminal.h"
#include "engine/kv_memory.h"

namespace autoglm::app {
namespace {

constexpr const char* kNodeGroup = "Of several models together";
constexpr double kMostWeight = 1000, kLeastWeight = 0.001;
constexpr std::size_t kMostConcurrency = 4096;
// Of the budget, for all KV caches whose size nobody said: as much as one model takes of what memory is free.
constexpr std::size_t kShareOfKv = 4;

// The settings of one [[model]] table.
void add_model_settings(CLI::App& table, NodeModel& model) {
  table.add_option("--model", model.engine.model);
  table.add_option("--name", model.name);
  table.add_option("--weight", model.weight)->check(CLI::Range(kLeastWeight, kMostWeight));
  table.add_option("--max-concurrency", model.max_concurrency)->check(CLI::Range(std::size_t{1}, kMostConcurrency));
  table.add_option("--load-at-start", model.is_loaded_at_start);
  add_running_flags(table, model.engine, EngineUse::kServer);
}

// What a table says of its model wins over what the flags say of all.
Result<NodeModel> model_of(const json::Object& table, NodeModel model) {
  const std::string file = model.engine.config;
  CLI::App settings("", "[[model]]");
  add_model_settings(settings, model);
  TRY(apply_settings(settings, table, file));
  if (model.engine.model.empty()) {
    return fail(Code::kInvalidArgument, file + ": a [[model]] needs a line `model = ...`", "--config");
  }
  return model;
}

// The value for the model at `index`: there are as many as models, or one for all, or none.
template <typename T>
T value_for(const std::vector<T>& values, std::size_t index, T none) {
  if (values.empty()) return none;
  return values.size() == 1 ? values.front() : values[index];
}

Status check_count(std::size_t values, std::size_t models, const char* flag) {
  if (values <= 1 || values == models) return {};
  return fail(Code::kInvalidArgument,
              fmt::format("{} has {} values for {} model{}: give one for all, or one for each", flag, values, models,
                          models == 1 ? "" : "s"),
              flag);
}

}  // namespace

void add_node_flags(CLI::App& verb, NodeFlags& flags) {
  verb.add_option("--weight", flags.weights,
                  "Share of the processor beside other models: one for all, or one for each in order, as 3,1")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(kLeastWeight, kMostWeight))
      ->group(kNodeGroup);
  verb.add_option("--max-concurrency", flags.max_concurrency,
                  "Requests of a model that are at work at once, as 8,16; further ones wait. Default: --max-batch-size")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(std::size_t{1}, kMostConcurrency))
      ->group(kNodeGroup);
  verb.add_option("--memory-budget", flags.memory_budget,
                  "Weights and KV memory of all models together, as 8G; default: 90 % of the memory that is free")
      ->group(kNodeGroup);
  verb.add_option("--admin-key-file", flags.admin_key_file,
                  "File of keys that may load and unload models (`openautoglm models`); without it nobody may")
      ->type_name("FILE")
      ->group(kNodeGroup);
}

Result<std::vector<NodeModel>> node_models(const EngineFlags& engine, const NodeFlags& flags,
                                           const json::Array& tables) {
  if (!tables.empty() && !engine.models.empty()) {
    return fail(Code::kInvalidArgument, "models are named on the command line or by [[model]], not by both",
                "--config");
  }
  const std::size_t count = tables.empty() ? engine.models.size() : tables.size();
  TRY(check_count(flags.weights.size(), count, "--weight"));
  TRY(check_count(flags.max_concurrency.size(), count, "--max-concurrency"));
  std::vector<NodeModel> models;
  for (std::size_t i = 0; i < count; ++i) {
    NodeModel model{.engine = engine,
                    .name = {},
                    .weight = value_for(flags.weights, i, 1.0),
                    .max_concurrency = value_for(flags.max_concurrency, i, std::size_t{0})};
    if (tables.empty()) {
      model.engine.model = engine.models[i];
    } else {
      model = TRY(model_of(tables[i].get_object(), std::move(model)));
    }
    models.push_back(std::move(model));
  }
  return models;
}

struct Node::Member {
  Member(NodeModel as_wanted, ModelChoice chosen, const base::Clock& clock)
      : wanted(std::move(as_wanted)), choice(std::move(chosen)), metrics(clock) {}

  const NodeModel wanted;
  const ModelChoice choice;
  telemetry::Registry metrics;
  bool makes_vectors = false;
  std::size_t kv_bytes = 0;  // where its flags say nothing
};

Node::~Node() = default;

Result<std::unique_ptr<Node>> Node::make(std::vector<NodeModel> models, const std::string& memory_budget) {
  const std::size_t budget = memory_budget.empty() ? engine::available_bytes("/") / 10 * 9
                                                   : TRY(parse_bytes(memory_budget, "--memory-budget"));
  std::unique_ptr<Node> node(new Node());
  for (NodeModel& model : models) TRY(node->add(std::move(model)));
  TRY(node->start(budget));
  return node;
}

Status Node::add(NodeModel model) {
  TRY(chosen_isa(model.engine.isa));
  ModelChoice choice = TRY(choose_model(model.engine.model, model.engine.may_pull));
  if (model.name.empty()) model.name = choice.name;
  for (const auto& other : members_) {
    if (other->wanted.name != model.name) continue;
    return fail(Code::kInvalidArgument,
                fmt::format("two models are called {}: give one another name (`name` in its [[model]] table)",
                            base::printable(model.name)),
                "--model");
  }
  const bool makes_vectors = is_encoder(choice).value_or(false);  // a file that is broken: its load says why
  members_.push_back(std::make_unique<Member>(std::move(model), std::move(choice), clock_));
  members_.back()->makes_vectors = makes_vectors;
  return {};
}

Status Node::start(std::size_t memory_budget) {
  const auto writers = static_cast<std::size_t>(
      std::ranges::count_if(members_, [](const auto& member) { return !member->makes_vectors; }));
  engine::ComputeTurns* const turns = members_.size() > 1 ? &turns_ : nullptr;
  std::vector<server::ModelSpec> specs;
  for (const auto& owned : members_) {
    Member* const member = owned.get();
    if (writers > 0) member->kv_bytes = memory_budget / kShareOfKv / writers;
    const auto surroundings = [this, member, turns] {
      return EngineSurroundings{.clock = clock_,
                                .metrics = member->metrics,
                                .name = member->wanted.name,
                                .max_concurrency = member->wanted.max_concurrency,
                                .kv_bytes = member->kv_bytes,
                                .turns = turns,
                                .weight = member->wanted.weight};
    };
    const std::size_t batch = member->wanted.engine.max_batch_size;
    const std::size_t most = member->wanted.max_concurrency;
    server::ModelSpec spec{.name = member->wanted.name,
                           .created_unix_seconds = clock_.unix_seconds(),
                           .is_encoder = member->makes_vectors,
                           .weight = member->wanted.weight,
                           .max_concurrency = most == 0 ? batch : std::min(batch, most),
                           .metrics = &member->metrics};
    spec.needed_bytes = [member, surroundings] {
      return app::needed_bytes(member->choice, member->wanted.engine, surroundings());
    };
    spec.load = [member, surroundings]() -> Result<server::ModelParts> {
      StartedEngine started = TRY(start_chosen(member->choice, member->wanted.engine, surroundings()));
      return server::ModelParts{
          .generator = std::move(started.generator), .embedder = std::move(started.embedder), .bytes = started.bytes};
    };
    specs.push_back(std::move(spec));
  }
  registry_ = std::make_unique<server::ModelRegistry>(
      std::move(specs), server::ModelRegistryOptions{.memory_budget = memory_budget}, clock_);
  return {};
}

Result<std::vector<std::string>> Node::load_at_start() {
  std::vector<std::string> left_out;
  std::vector<server::ModelLease> loaded;  // nobody makes room for the next one yet
  for (const auto& member : members_) {
    if (!member->wanted.is_loaded_at_start) continue;
    const std::string& name = member->wanted.name;
    std::promise<Result<server::ModelLease>> promise;
    auto arrives = promise.get_future();
    TRY(registry_->load(name, [&promise](Result<server::ModelLease> lease) { promise.set_value(std::move(lease)); }));
    Result<server::ModelLease> lease = arrives.get();
    if (lease) {
      loaded.push_back(std::move(*lease));
    } else if (lease.error().code == Code::kExhausted && !loaded.empty()) {
      left_out.push_back(lease.error().message);
    } else {
      return fail_in("the model " + base::printable(name), std::move(lease).error());
    }
  }
  return left_out;
}

}  // namespace autoglm::app

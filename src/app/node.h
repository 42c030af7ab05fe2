// SPDX-License-Identifier: Apache-2.0
// Several models in one process: from flags and [[model]] tables to a registry that loads them, with one memory budget
// and turns on the processor by weight. What `serve` runs when it is given more than one model. Main thread; models
// are loaded on the registry's.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "app/running_model.h"
#include "base/json.h"
#include "base/result.h"
#include "engine/compute_turns.h"
#include "server/model_registry.h"
#include "telemetry/metrics.h"

namespace autoglm::app {

// One model as the operator wants it.
struct NodeModel {
  EngineFlags engine;
  std::string name;  // as clients call it; empty = the model's own
  double weight = 1;
  std::size_t max_concurrency = 0;  // 0 = what max_batch_size says
  bool is_loaded_at_start = true;
};

struct NodeFlags {
  std::vector<double> weights;               // one for all, or one for each in order; none = 1
  std::vector<std::size_t> max_concurrency;  // the same; none = what max_batch_size says
  std::string memory_budget;                 // as 8G; empty = nine tenths of the memory that is free
  std::string admin_key_file;
};

void add_node_flags(CLI::App& verb, NodeFlags& flags);

/// The models that the command line names, or those of the tables; never both.
///   Errors   kInvalidArgument naming the flag, or the key and the table
Result<std::vector<NodeModel>> node_models(const EngineFlags& engine, const NodeFlags& flags,
                                           const json::Array& tables);

class Node final {
 public:
  /// Chooses (and pulls) the models; loads none. Errors: those of choose_model(); kInvalidArgument (two of one name);
  /// kExhausted (one that does not fit the budget even alone).
  static Result<std::unique_ptr<Node>> make(std::vector<NodeModel> models, const std::string& memory_budget);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  /// Loads those that are to be there from the start, one after the other, while they fit; the others are loaded when
  /// they are asked for. Returns a line for each that did not fit. Errors: those of loading.
  Result<std::vector<std::string>> load_at_start();

  server::ModelRegistry& registry() { return *registry_; }
  const base::Clock& clock() const { return clock_; }
  telemetry::Registry& metrics() { return metrics_; }

 private:
  struct Member;
  Node() = default;
  Status add(NodeModel model);
  Status start(std::size_t memory_budget);

  base::SystemClock clock_;
  telemetry::Registry metrics_{clock_};  // of the server
  engine::ComputeTurns turns_{clock_};
  std::vector<std::unique_ptr<Member>> members_;
  std::unique_ptr<server::ModelRegistry> registry_;  // last: its engines use all of the above
};

}  // namespace autoglm::app

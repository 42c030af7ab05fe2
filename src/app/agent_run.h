// SPDX-License-Identifier: Apache-2.0
// One run of an agent put together: session, context, journal, tools, loop. What `task` and the Python package share.
// Blocks its thread.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>

#include "agent/action_runner.h"
#include "agent/agent_loop.h"
#include "agent/tool_registry.h"
#include "app/task_view.h"
#include "base/clock.h"
#include "generation/generator.h"
#include "store/session_store.h"

namespace autoglm::app {

constexpr std::size_t kMaxTaskBytes = 1u << 20;

// All of it outlives the run.
struct AgentParts {
  generation::Generator& generator;
  store::SessionStore& store;
  agent::ToolRegistry& tools;  // those of a session join them for a run
  const base::Clock& clock;
};

struct AgentTask {
  std::string text;
  std::string session;      // made when it is not there; empty = one of its own
  std::int64_t resume = 0;  // a run to take up, whose session and task count; 0 = none
  bool has_memory = false;  // the tools remember and recall, also in a session that nobody named
};

struct EndedRun {
  std::int64_t run = 0;
  agent::RunReport report;
};

/// Errors: kInvalidArgument: a model without a chat template cannot be an agent.
Status check_can_act(const generation::ModelCard& card);

/// Errors: kNotFound (no such run), kExhausted (a task that is too long), those of agent::run_agent() and the store.
Result<EndedRun> run_task(const AgentParts& parts, const agent::RunOptions& options, const agent::Approver& approver,
                          const AgentTask& task, TaskView& view, std::stop_token stop);

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
// The agent's loop: load the context, let the engine propose actions, let the scheduler check and run them, put the
// results back into the context, until the task is done. Each turn is a decision under grammar: act, or answer. One run
// at a time on its caller's thread; tokens arrive from the engine's thread through a sink.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "agent/action_runner.h"
#include "agent/aids.h"
#include "agent/context_manager.h"
#include "agent/tool_registry.h"
#include "base/clock.h"
#include "generation/generator.h"
#include "text/tool_format.h"

namespace autoglm::agent {

// How an invented tool name is met.
enum class NameRule : std::uint8_t {
  kMask,  // the grammar allows the registry's names and argument schemas only
  kMap,   // any name is allowed and mapped afterwards (agent/tool_mapping.h)
};

struct RunLimits {
  std::size_t max_turns = 16;
  std::size_t max_actions = 64;
  std::size_t max_completion_tokens = 16384;
  std::size_t max_turn_tokens = 1024;
  // In a row, failures and repetitions only: then the model is told, and after as many again the run ends.
  std::size_t max_fruitless_turns = 3;
  std::chrono::seconds max_seconds{600};
};

struct RunOptions {
  RunLimits limits;
  NameRule names = NameRule::kMask;
  std::size_t max_thinking_bytes = 4000;  // of a <think> block before the decision
  std::size_t max_turn_calls = 4;         // a small model that begins to list variants of a call does not end by itself
  Aids aids;
  generation::Sampling sampling{.temperature = 0};
  text::ToolFormat format = text::ToolFormat::kHermes;
};

enum class RunState : std::uint8_t { kDone, kFailed, kLimit, kCancelled };
std::string_view run_state_name(RunState state);

struct TurnReport {
  std::size_t turn = 0;
  std::string reasoning;  // thinking before the decision, or the answer's own line of it; counts for nothing
  std::string text;
  std::vector<ActionCall> calls;
  std::vector<std::string> renamed;  // invented names that were mapped, paths that were mended
  std::size_t asked_anew = 0;        // so many answers before this one do not count
  generation::Usage usage;           // the prompt of one answer, what was written in all
  double seconds = 0;
};

// Hears of a run as it goes. Text comes on the engine's thread, the rest on the run's.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  virtual void on_text(std::string_view delta) = 0;
  virtual void on_turn(const TurnReport& report) = 0;
  virtual void on_action(const Action& action) = 0;  // whenever its state changes
};

struct RunReport {
  RunState state = RunState::kFailed;
  std::string answer;  // or why there is none
  std::size_t turns = 0;
  std::size_t actions = 0;
  std::size_t invalid_calls = 0;  // texts that began a call and were none
  std::size_t asked_anew = 0;     // answers of the model that broke a rule (agent/turn_rules.h) and do not count
  bool is_narrowed = false;       // tools that change something were withheld
  generation::Usage usage;
  double seconds = 0;
  double model_seconds = 0;
  double tool_seconds = 0;  // during which at least one tool ran; never while the model wrote
};

// What a run works with; all of it outlives the run.
struct RunParts {
  generation::Generator& generator;
  ContextManager& context;
  const ToolRegistry& tools;
  ActionRunner& runner;
  RunObserver& observer;
  const base::Clock& clock;
};

/// The system text that begins every window of an agent's run.
std::string agent_instructions(const ToolRegistry& tools, text::ToolFormat format);
/// The tools that a chat template shows for a run: the registry's, and the call that gives the answer. Each turn of a
/// run is a call, of which one ends it: so the model's own likelihood decides between acting and answering, and it need
/// not remember a marker. A phone agent's language has its own end, and a run without tools is plain text.
json::Array shown_tools(const ToolRegistry& tools, text::ToolFormat format, const Aids& aids);

/// Runs a task that the context has begun (or taken up again) to its end, which is recorded in the context.
///   Errors   until the first turn is there: kInvalidArgument (no chat template, a schema that cannot be honoured),
///            kExhausted (task and tools do not fit the context), those of the generator and the store. A cancel and a
///            limit are states of the report from the beginning on, and so is whatever happens later.
Result<RunReport> run_agent(const RunParts& parts, const RunOptions& options, std::stop_token stop);

}  // namespace autoglm::agent

// SPDX-License-Identifier: Apache-2.0
#include "app/agent_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "agent/context_manager.h"
#include "base/log.h"
#include "generation/chat_prompt.h"
#include "generation/collect.h"

namespace autoglm::app {
namespace {

// Makes every step durable, then shows it.
class Recorder final : public agent::ActionObserver {
 public:
  Recorder(agent::ContextManager& context, TaskView& view) : context_(context), view_(view) {}
  void on_plan(std::span<const agent::Action> actions,
               const std::vector<std::vector<std::size_t>>& waits_for) override {
    view_.on_plan(actions, waits_for);
  }
  Status on_intent(const agent::Action& action, const json::Object& arguments) override {
    TRY(context_.record_intent(action, arguments));
    view_.on_arguments(action, arguments);
    return {};
  }
  void on_state(const agent::Action& action) override {
    if (action.result.state == agent::ActionState::kWaiting || action.result.state == agent::ActionState::kRunning) {
      view_.on_action(action);
    }
  }
  void on_result(const agent::Action& action) override {
    if (auto kept = context_.record_result(action); !kept) {
      LOG_ERROR("step {} ran, but its result could not be kept: {}", action.step, kept.error().message);
    }
    view_.on_action(action);
  }

 private:
  agent::ContextManager& context_;
  TaskView& view_;
};

agent::CountTokens counter(const generation::ModelCard& card, const json::Array& tools) {
  return [&card, &tools](const json::Array& messages) -> Result<std::size_t> {
    return TRY(generation::encode(card, {.messages = &messages, .tools = &tools})).size();
  };
}

// The model's own summary of what no longer fits.
agent::Summarise summariser(generation::Generator& generator) {
  return [&generator](const json::Array& messages, std::size_t max_tokens) -> Result<std::string> {
    const json::Array asked = {
        json::Object{{"role", "user"},
                     {"content",
                      "Summarise this conversation of an agent in a few short lines: what was asked, what was "
                      "done, which results matter.\n\n" +
                          json::format(messages)}}};
    generation::Request request;
    request.id = "summary";
    request.prompt = TRY(generation::encode_without_reasoning(generator.card(), {.messages = &asked}));
    request.sampling.temperature = 0;
    request.max_tokens = max_tokens;
    return TRY(generation::generate(generator, std::move(request))).text;
  };
}

// The session that the task names, made when it is not there.
Result<std::string> chosen_session(store::SessionStore& store, const AgentTask& task) {
  if (task.resume > 0) return TRY(agent::resumable_run(store, task.resume)).session;
  if (task.session.empty()) return store.create_session();
  if (TRY(store.find_session(task.session))) return task.session;
  return store.create_session(task.session);
}

agent::WindowLimits window_of(const generation::ModelCard& card, const agent::RunOptions& options) {
  agent::WindowLimits window;
  window.context_tokens = card.context_length;
  window.answer_tokens = std::min(options.limits.max_turn_tokens, window.context_tokens / 4);
  return window;
}

// The tools of a session, as long as it lives.
class SessionTools final {
 public:
  explicit SessionTools(agent::ToolRegistry& tools) : tools_(tools), before_(tools.tools().size()) {}
  ~SessionTools() { tools_.keep_first(before_); }
  SessionTools(const SessionTools&) = delete;
  SessionTools& operator=(const SessionTools&) = delete;

  Status add(agent::ContextManager& context, bool has_memory) {
    for (auto& tool : context.built_in_tools()) {
      if (has_memory || tool->description().is_quiet) TRY(tools_.add(std::move(tool)));
    }
    return {};
  }

 private:
  agent::ToolRegistry& tools_;
  const std::size_t before_;
};

}  // namespace

Status check_can_act(const generation::ModelCard& card) {
  if (card.chat_template != nullptr) return {};
  return fail(Code::kInvalidArgument, "this model has no chat template: an agent needs one", "model");
}

Result<EndedRun> run_task(const AgentParts& parts, const agent::RunOptions& options, const agent::Approver& approver,
                          const AgentTask& task, TaskView& view, std::stop_token stop) {
  if (task.text.size() > kMaxTaskBytes) return fail(Code::kExhausted, "this is more than a task may hold", "TASK");
  auto& [generator, store, tools, clock] = parts;
  const std::string session = TRY(chosen_session(store, task));
  json::Array for_template;  // filled in when all tools are known, before anything is counted
  const auto context = TRY(agent::ContextManager::open(store, session, window_of(generator.card(), options),
                                                       counter(generator.card(), for_template), summariser(generator)));
  SessionTools of_session(tools);
  TRY(of_session.add(*context, task.has_memory || store::is_chosen_name(session)));
  for_template = agent::shown_tools(tools, options.format, options.aids);
  Recorder recorder(*context, view);
  const auto runner = agent::make_action_runner(tools, {}, approver, recorder, clock);
  TRY(task.resume > 0
          ? context->resume(task.resume)
          : context->begin(agent::agent_instructions(tools, options.format), task.text, generator.card().name));
  view.on_begin(context->run(), context->session());
  auto report = TRY(agent::run_agent({generator, *context, tools, *runner, view, clock}, options, std::move(stop)));
  return EndedRun{context->run(), std::move(report)};
}

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <map>
#include <utility>

#include "app/task_view.h"
#include "base/json.h"

namespace autoglm::app {
namespace {

class JsonView final : public TaskView {
 public:
  explicit JsonView(std::function<void(std::string)> print) : print_(std::move(print)) {}
  void on_begin(std::int64_t run, const std::string& session) override {
    print({{"event", "run"}, {"run", run}, {"session", session}});
  }
  void on_text(std::string_view) override {}
  void on_turn(const agent::TurnReport& report) override {
    turn_ = report.turn;
    json::Array calls;
    for (const agent::ActionCall& call : report.calls) {
      json::Object shown = {{"id", call.id}, {"tool", call.tool}, {"arguments", call.arguments}};
      if (call.unusable) shown["unusable"] = call.unusable->message;
      calls.emplace_back(std::move(shown));
    }
    json::Array renamed;
    for (const std::string& name : report.renamed) renamed.emplace_back(name);
    print({{"event", "turn"},
           {"turn", report.turn},
           {"reasoning", report.reasoning},
           {"text", report.text},
           {"calls", std::move(calls)},
           {"renamed", std::move(renamed)},
           {"asked_anew", report.asked_anew},
           {"prompt_tokens", report.usage.prompt_tokens},
           {"cached_tokens", report.usage.cached_tokens},
           {"completion_tokens", report.usage.completion_tokens},
           {"seconds", report.seconds}});
  }
  void on_plan(std::span<const agent::Action>, const std::vector<std::vector<std::size_t>>&) override {}
  void on_arguments(const agent::Action& action, const json::Object& arguments) override {
    arguments_[action.step] = arguments;
  }
  void on_action(const agent::Action& action) override {
    const agent::ActionState state = action.result.state;
    if (state == agent::ActionState::kWaiting || state == agent::ActionState::kRunning) return;
    const auto run = arguments_.find(action.step);
    print({{"event", "action"},
           {"step", action.step},
           {"turn", turn_},
           {"tool", action.call.tool},
           {"arguments", run == arguments_.end() ? action.call.arguments : run->second},
           {"state", agent::state_name(state)},
           {"seconds", action.result.seconds},
           {"result", action.result.text}});
    arguments_.erase(action.step);
  }
  void on_end(const agent::RunReport& report, const std::vector<std::string>& unsandboxed) override {
    json::Array names;
    for (const std::string& name : unsandboxed) names.emplace_back(name);
    print({{"event", "answer"}, {"text", report.answer}});
    print({{"event", "summary"},
           {"state", agent::run_state_name(report.state)},
           {"turns", report.turns},
           {"actions", report.actions},
           {"invalid_calls", report.invalid_calls},
           {"asked_anew", report.asked_anew},
           {"narrowed", report.is_narrowed},
           {"prompt_tokens", report.usage.prompt_tokens},
           {"cached_tokens", report.usage.cached_tokens},
           {"completion_tokens", report.usage.completion_tokens},
           {"seconds", report.seconds},
           {"model_seconds", report.model_seconds},
           {"tool_seconds", report.tool_seconds},
           {"unsandboxed", std::move(names)}});
  }
  void pause() override {}

 private:
  void print(const json::Object& line) { print_(json::format(line)); }

  const std::function<void(std::string)> print_;
  std::size_t turn_ = 0;
  std::map<std::size_t, json::Object> arguments_;  // by step, until it ends
};

}  // namespace

std::unique_ptr<TaskView> make_json_view(std::function<void(std::string line)> print) {
  return std::make_unique<JsonView>(std::move(print));
}

std::unique_ptr<TaskView> make_json_view() {
  return make_json_view([](std::string line) {
    line += '\n';
    std::fwrite(line.data(), 1, line.size(), stdout);
    std::fflush(stdout);
  });
}

}  // namespace autoglm::app

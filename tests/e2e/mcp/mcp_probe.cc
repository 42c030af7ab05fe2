// SPDX-License-Identifier: Apache-2.0
// Drives our MCP client against servers that others wrote.
//   mcp_probe everything CONFIG   the published everything-server, named in an mcpServers file: every kind of call
//   mcp_probe conformance URL     what a scenario of the conformance suite waits for: initialise, list, call
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <thread>

#include "agent/action_runner.h"
#include "agent/approval.h"
#include "agent/tools/mcp_servers.h"

namespace {

using namespace autoglm;
using agent::Action;
using agent::ActionState;

int failures = 0;

void expect(bool holds, const std::string& what, const std::string& but = "") {
  std::printf("%s  %s%s%s\n", holds ? "passed" : "FAILED", what.c_str(), holds || but.empty() ? "" : ": ",
              holds ? "" : but.c_str());
  failures += holds ? 0 : 1;
}

bool has(const Action& action, std::string_view text) { return action.result.text.find(text) != std::string::npos; }

class Silent final : public agent::ActionObserver {
 public:
  std::function<void(const Action&)> on_running;
  Status on_intent(const Action&, const json::Object&) override { return {}; }
  void on_state(const Action& action) override {
    if (on_running && action.result.state == ActionState::kRunning) on_running(action);
  }
  void on_result(const Action&) override {}
};

class Everything final {
 public:
  explicit Everything(agent::McpServerConfig config) {
    config.rights_of["trigger-long-running-operation"].timeout = std::chrono::milliseconds(500);
    std::vector<std::string> remarks;
    const auto facts = agent::add_mcp_server(tools_, config, {}, remarks);
    expect(facts.has_value(), "connects", facts ? "" : facts.error().message);
    if (!facts) return;
    std::printf("        %s, protocol %s, %zu tools\n", facts->name.c_str(), facts->version.c_str(), facts->tools);
    for (const std::string& remark : remarks) std::printf("        %s\n", remark.c_str());
    runner_ =
        agent::make_action_runner(tools_, {}, agent::make_approver(agent::Leave::kAll, nullptr), observer_, clock_);
  }

  void run() {
    if (!runner_) return;
    lists();
    calls();
    refusals();
    stops();
  }

 private:
  std::vector<Action> turn(std::vector<std::pair<std::string, std::string>> calls, std::stop_token stop = {}) {
    std::vector<agent::ActionCall> list;
    for (const auto& [tool, arguments] : calls) {
      agent::ActionCall& call = list.emplace_back();
      call.tool = "everything_" + tool;
      base::Budget budget;
      call.arguments = json::parse(arguments, budget).value().as_object();
    }
    return runner_->run_turn(std::move(list), {}, std::move(stop));
  }

  void lists() {
    expect(tools_.tools().size() >= 10, "lists its tools");
    const agent::Tool* sum = tools_.find("everything_get-sum");
    expect(sum != nullptr && sum->description().tool_class == agent::ToolClass::kRead, "annotations give the class");
  }

  void calls() {
    const auto three = turn({{"echo", R"({"message":"gr\u00fc\u00df dich"})"},
                             {"get-sum", R"({"a":2,"b":3})"},
                             {"echo", R"({"message":"$step_2"})"}});
    expect(has(three[0], "Echo: gr\xc3\xbc\xc3\x9f dich"), "a call", three[0].result.text);
    expect(has(three[1], "The sum of 2 and 3 is 5"), "a call beside it", three[1].result.text);
    expect(has(three[2], "Echo: The sum of 2 and 3 is 5"), "a call that refers to its result", three[2].result.text);
    const auto parts = turn({{"get-tiny-image", "{}"},
                             {"get-structured-content", R"({"location":"New York"})"},
                             {"get-resource-links", R"({"count":2})"}});
    expect(has(parts[0], "[image: image/png, about"), "an image is a note", parts[0].result.text);
    expect(has(parts[1], "temperature"), "structured content", parts[1].result.text);
    expect(has(parts[2], "[resource "), "resource links", parts[2].result.text);
    const auto environment = turn({{"get-env", "{}"}});
    expect(!environment[0].result.is_error() && !has(environment[0], "canary"), "our environment stays ours");
  }

  void refusals() {
    const auto bad = turn({{"get-sum", R"({"a":"two","b":3})"}, {"get-some", "{}"}});
    expect(bad[0].result.state == ActionState::kFailed && has(bad[0], "/a"), "arguments that do not fit",
           bad[0].result.text);
    expect(bad[1].result.state == ActionState::kFailed && has(bad[1], "no tool"), "a tool that is none");
  }

  void stops() {
    const std::string slow = R"({"duration":20,"steps":20})";
    const auto late = turn({{"trigger-long-running-operation", slow}});
    expect(late[0].result.state == ActionState::kTimedOut, "a timeout", late[0].result.text);
    std::stop_source stop;
    observer_.on_running = [&stop](const Action&) { stop.request_stop(); };
    const auto cancelled = turn({{"trigger-long-running-operation", slow}}, stop.get_token());
    observer_.on_running = nullptr;
    expect(cancelled[0].result.state == ActionState::kCancelled && cancelled[0].result.seconds < 5,
           "a cancel in the middle", cancelled[0].result.text);
    const auto after = turn({{"echo", R"({"message":"still here"})"}});
    expect(has(after[0], "still here"), "the connection lives on", after[0].result.text);
  }

  agent::ToolRegistry tools_;
  Silent observer_;
  base::SystemClock clock_;
  std::unique_ptr<agent::ActionRunner> runner_;
};

int run_everything(const char* file) {
  setenv("OPENAUTOGLM_TEST_SECRET", "canary", 1);
  std::ifstream stream(file);
  const std::string text((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  std::vector<std::string> remarks;
  auto configs = agent::parse_mcp_config(text, file, {}, remarks);
  expect(configs && configs->size() == 1, "the mcpServers file", configs ? "" : configs.error().message);
  if (configs && configs->size() == 1) Everything(std::move(configs->front())).run();
  return failures == 0 ? 0 : 1;
}

int run_conformance(const char* url) {
  agent::McpServerConfig config{.label = "suite", .url = url};
  agent::ToolRegistry tools;
  std::vector<std::string> remarks;
  const auto facts = agent::add_mcp_server(tools, config, {}, remarks);
  expect(facts.has_value(), "connects", facts ? "" : facts.error().message);
  for (const auto& tool : tools.tools()) {
    json::Object arguments;
    if (tool->description().name == "add_numbers") arguments = {{"a", 5}, {"b", 3}};
    const auto output = tool->run(arguments, {});
    expect(output && !output->is_error, "calls " + tool->description().name,
           output ? output->text : output.error().message);
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace

int main(int count, char** words) {
  const std::string verb = count == 3 ? words[1] : "";
  if (verb == "everything") return run_everything(words[2]);
  if (verb == "conformance") return run_conformance(words[2]);
  std::fprintf(stderr, "usage: mcp_probe everything CONFIG | conformance URL\n");
  return 2;
}

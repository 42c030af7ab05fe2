// SPDX-License-Identifier: Apache-2.0
#include "binding/agent.h"

#include <fmt/format.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <condition_variable>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "agent/approval.h"
#include "app/agent_run.h"
#include "app/tool_flags.h"
#include "base/budget.h"
#include "base/json.h"
#include "binding/failure.h"
#include "binding/model.h"
#include "binding/waiting.h"
#include "store/session_store.h"

namespace autoglm::python {
namespace {

namespace nb = nanobind;

// What Python says of a function; `call` takes its arguments in JSON and gives (text, whether it is an error).
struct FunctionTool {
  std::string name;
  std::string description;
  std::string parameters;  // JSON schema
  std::string tool_class;
  double timeout_seconds = 30;
  std::size_t max_concurrency = 4;
  nb::object call;
};

json::Object parse_object(const std::string& text, const std::string& what) {
  base::Budget budget;
  json::Value value = take(json::parse(text, budget));
  if (!value.is_object()) throw Failure({Code::kInvalidArgument, what + " is no JSON object", {}});
  return std::move(value.get_object());
}

agent::ToolDescription describe(const FunctionTool& function) {
  const auto tool_class = agent::parse_class(function.tool_class);
  if (!tool_class) {
    throw Failure(
        {Code::kInvalidArgument, "a tool is read, write or external, not '" + function.tool_class + "'", "tool_class"});
  }
  return {.name = function.name,
          .description = function.description,
          .parameters = parse_object(function.parameters, "the schema of " + function.name),
          .source = "python",
          .source_name = {},
          .tool_class = *tool_class,
          .approval = agent::default_approval(*tool_class),
          .timeout = std::chrono::milliseconds(static_cast<std::int64_t>(function.timeout_seconds * 1000)),
          .max_concurrency = function.max_concurrency,
          .is_sandboxed = false};
}

// Made and ended with the GIL, run without it on a thread of the actions'.
class PythonTool final : public agent::Tool {
 public:
  explicit PythonTool(FunctionTool function) : description_(describe(function)), call_(std::move(function.call)) {}

  const agent::ToolDescription& description() const override { return description_; }

  // The function cannot be stopped from outside: it ends by itself.
  Result<agent::ToolOutput> run(const json::Object& arguments, std::stop_token) override {
    const std::string text = json::format(arguments);
    const nb::gil_scoped_acquire held;
    try {
      auto [output, is_error] = nb::cast<std::tuple<std::string, bool>>(call_(text));
      return agent::ToolOutput{std::move(output), is_error};
    } catch (const std::exception& thrown) {
      return fail(Code::kInternal, fmt::format("the function {} failed: {}", description_.name, thrown.what()));
    }
  }

 private:
  agent::ToolDescription description_;
  nb::object call_;
};

// What happens in a run, for the thread of Python that waits for it: lines of JSON, as `task --json` prints them.
class EventQueue final {
 public:
  void tell(std::string line) EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    lines_.push_back(std::move(line));
    changed_.notify_all();
  }
  void end(Status how) EXCLUDES(mutex_) {
    base::MutexLock lock(mutex_);
    end_ = std::move(how);
    changed_.notify_all();
  }

  struct Events {
    std::vector<std::string> lines;
    std::optional<Status> end;  // no more will come
  };
  /// What has come since the last wait, once there is something, or when this is over.
  Events wait(base::Duration longest) EXCLUDES(mutex_) {
    const auto until = std::chrono::steady_clock::now() + longest;
    base::MutexLock lock(mutex_);
    while (lines_.empty() && !end_ && lock.wait_until(changed_, until) == std::cv_status::no_timeout) {
    }
    return {std::exchange(lines_, {}), end_};
  }

 private:
  base::Mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> lines_ GUARDED_BY(mutex_);
  std::optional<Status> end_ GUARDED_BY(mutex_);
};

class Agent final {
 public:
  Agent(Model& model, std::vector<FunctionTool> functions, const std::string& database)
      : running_(model.writer()), tools_(app::callable_by(running_->generator->card())) {
    take(app::check_can_act(running_->generator->card()));
    store_ = take(store::SessionStore::open(database, *running_->clock));
    for (FunctionTool& function : functions) {
      const std::string name = function.name;
      Status added = tools_.add(std::make_unique<PythonTool>(std::move(function)));
      if (!added) take(Status(fail_in("tool " + name, std::move(added).error())));
    }
  }

  struct Asked {
    app::AgentTask task;
    agent::RunOptions options;
    agent::Leave leave = agent::Leave::kNone;
    nb::object approve;   // (tool, arguments in JSON) -> bool, or None
    nb::object on_event;  // takes each line
  };
  /// Throws: Failure, with the errors of app::run_task(); what a signal's handler or on_event raises.
  void run(Asked asked);

 private:
  static agent::Approver approver(const Asked& asked);
  Status run_task(const Asked& asked, EventQueue& events, std::stop_token stop);

  std::shared_ptr<const app::RunningModel> running_;
  std::unique_ptr<store::SessionStore> store_;
  agent::ToolRegistry tools_;
  bool is_running_ = false;
};

agent::Approver Agent::approver(const Asked& asked) {
  if (asked.approve.is_none()) return agent::make_approver(asked.leave, {});
  const nb::handle function = asked.approve;  // lives as long as the run
  return agent::make_approver(asked.leave,
                              [function](const agent::Action&, const json::Object& arguments,
                                         const agent::ToolDescription& tool, std::stop_token) -> agent::Decision {
                                const nb::gil_scoped_acquire held;
                                try {
                                  const nb::object said = function(tool.name, json::format(arguments));
                                  if (nb::cast<bool>(said)) return {agent::Verdict::kAllow, {}};
                                  return {agent::Verdict::kDeny, "the user did not allow it"};
                                } catch (const std::exception& thrown) {
                                  return {agent::Verdict::kDeny,
                                          fmt::format("asking the user failed: {}", thrown.what())};
                                }
                              });
}

Status Agent::run_task(const Asked& asked, EventQueue& events, std::stop_token stop) {
  const auto view = app::make_json_view([&events](std::string line) { events.tell(std::move(line)); });
  const app::AgentParts parts{*running_->generator, *store_, tools_, *running_->clock};
  const app::EndedRun ended =
      TRY(app::run_task(parts, asked.options, approver(asked), asked.task, *view, std::move(stop)));
  view->on_end(ended.report, {});
  return {};
}

void Agent::run(Asked asked) {
  if (is_running_) throw Failure({Code::kUnavailable, "this agent is at work on another task", {}});
  is_running_ = true;
  asked.options.format = running_->generator->card().tool_format;
  EventQueue queue;
  std::jthread thread([&](std::stop_token stop) { queue.end(run_task(asked, queue, std::move(stop))); });
  // Ends the run on every way out: its tools want the GIL meanwhile.
  struct Ending {
    std::jthread& thread;
    bool& is_running;
    ~Ending() {
      {
        const nb::gil_scoped_release released;
        thread.request_stop();
        thread.join();
      }
      is_running = false;
    }
  } const ending{thread, is_running_};
  for (;;) {
    EventQueue::Events events;
    {
      const nb::gil_scoped_release released;
      events = queue.wait(kMoment);
    }
    for (const std::string& line : events.lines) asked.on_event(line);
    if (events.end) return take(std::move(*events.end));
    check_signals();
  }
}

std::vector<FunctionTool> functions_of(const nb::list& tools) {
  std::vector<FunctionTool> functions;
  for (const nb::handle tool : tools) {
    functions.push_back({.name = nb::cast<std::string>(tool.attr("name")),
                         .description = nb::cast<std::string>(tool.attr("description")),
                         .parameters = nb::cast<std::string>(tool.attr("parameters_json")),
                         .tool_class = nb::cast<std::string>(tool.attr("kind")),
                         .timeout_seconds = nb::cast<double>(tool.attr("timeout_seconds")),
                         .max_concurrency = nb::cast<std::size_t>(tool.attr("max_concurrency")),
                         .call = tool.attr("call")});
  }
  return functions;
}

void run_agent(Agent& self, std::string task, std::string session, const std::string& approve, nb::object approver,
               nb::object on_event, bool memory, const std::string& aids, float temperature, std::size_t max_turns,
               std::size_t max_actions, std::size_t max_completion_tokens, std::int64_t max_seconds) {
  const auto leave = agent::parse_leave(approve);
  if (!leave)
    throw Failure({Code::kInvalidArgument, "approve is none, writes or all, not '" + approve + "'", "approve"});
  Agent::Asked asked;
  asked.task = {.text = std::move(task), .session = std::move(session), .has_memory = memory};
  asked.options.aids = take(agent::parse_aids(aids));
  asked.options.limits.max_turns = max_turns;
  asked.options.limits.max_actions = max_actions;
  asked.options.limits.max_completion_tokens = max_completion_tokens;
  asked.options.limits.max_seconds = std::chrono::seconds(max_seconds);
  asked.options.sampling.temperature = temperature;
  asked.leave = *leave;
  asked.approve = std::move(approver);
  asked.on_event = std::move(on_event);
  self.run(std::move(asked));
}

}  // namespace

void bind_agent(nb::module_& core) {
  nb::class_<Agent>(core, "Agent", "An agent with Python functions as tools. openautoglm.Agent is its friendly face.")
      .def(nb::new_([](Model& model, const nb::list& tools, const std::string& database) {
             return std::make_unique<Agent>(model, functions_of(tools), database);
           }),
           nb::arg("model"), nb::arg("tools"), nb::arg("database"))
      .def("run", &run_agent, nb::arg("task"), nb::kw_only(), nb::arg("session"), nb::arg("approve"),
           nb::arg("approver").none(), nb::arg("on_event"), nb::arg("memory"), nb::arg("aids"), nb::arg("temperature"),
           nb::arg("max_turns"), nb::arg("max_actions"), nb::arg("max_completion_tokens"), nb::arg("max_seconds"),
           "Runs a task to its end. on_event takes each event, a line of `task --json`, on this thread.");
}

}  // namespace autoglm::python

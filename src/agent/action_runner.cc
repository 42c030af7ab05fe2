// SPDX-License-Identifier: Apache-2.0
#include "agent/action_runner.h"

#include <algorithm>
#include <exception>
#include <list>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "base/bounded_queue.h"

namespace autoglm::agent {
namespace {

// Tools that were given up and are still at work; with more of them a run goes no further.
constexpr std::size_t kMaxStrays = 16;
constexpr std::size_t kQueueCapacity = 256;  // each thread puts one event

struct Event {
  enum class Kind : std::uint8_t { kEnd, kDecision, kStop };
  Kind kind = Kind::kStop;
  std::uint64_t turn = 0;
  std::size_t index = 0;
  std::size_t attempt = 0;
  Result<ToolOutput> outcome;
  Decision decision;
};

// A thread that runs one attempt of an action, or asks one question (attempt 0).
struct Worker {
  std::uint64_t turn = 0;
  std::size_t index = 0;
  std::size_t attempt = 0;
  bool is_write = false;
  std::jthread thread;
};

Result<ToolOutput> run_caught(Tool& tool, const json::Object& arguments, const std::stop_token& stop) {
  try {
    return tool.run(arguments, stop);
  } catch (const std::exception& error) {
    return fail(Code::kInternal, std::string("the tool broke: ") + error.what());
  } catch (...) {
    return fail(Code::kInternal, "the tool broke");
  }
}

class ThreadedRunner final : public ActionRunner {
 public:
  ThreadedRunner(const ToolRegistry& tools, const ActionLimits& limits, Approver approver, ActionObserver& observer,
                 const base::Clock& clock)
      : tools_(tools), limits_(limits), approver_(std::move(approver)), observer_(observer), clock_(clock) {}

  ~ThreadedRunner() override {
    events_.close();
    for (Worker& worker : workers_) worker.thread.request_stop();
  }

  std::vector<Action> run_turn(std::vector<ActionCall> calls, std::span<const Action> earlier, std::stop_token stop,
                               const TurnBounds& bounds) override {
    ++turn_;
    while (auto event = events_.try_pop()) forget(*event);
    if (workers_.size() >= kMaxStrays) {
      const Error error{Code::kExhausted, "too many earlier actions could not be stopped.", ""};
      for (ActionCall& call : calls) call.unusable = error;
    }
    ActionLimits limits = limits_;
    limits.max_actions = std::min(limits.max_actions, bounds.max_actions);
    if (bounds.max_time) limits.max_time = bounds.max_time;
    ActionScheduler scheduler(tools_, limits, std::move(calls), earlier, clock_);
    if (std::ranges::any_of(workers_, &Worker::is_write)) {
      scheduler.block_writes("an action of an earlier turn could not be stopped and may still be at work.");
    }
    const std::uint64_t turn = turn_;
    const std::stop_callback on_stop(stop, [this, turn] { events_.push({.turn = turn}); });
    if (stop.stop_requested()) scheduler.stop();  // before anything starts, not when its event is read
    observer_.on_plan(scheduler.actions(), scheduler.graph());
    for (;;) {
      bool is_settled = true;
      for (const auto& command : scheduler.next()) is_settled = perform(scheduler, command) && is_settled;
      if (scheduler.is_done()) break;
      if (is_settled) wait(scheduler);
    }
    for (Worker& worker : workers_) worker.thread.request_stop();
    return scheduler.actions();
  }

 private:
  using Kind = ActionScheduler::Command::Kind;

  // False when the scheduler was told something and is to be asked again.
  bool perform(ActionScheduler& scheduler, const ActionScheduler::Command& command) {
    const Action& action = scheduler.action(command.index);
    switch (command.kind) {
      case Kind::kAsk:
        observer_.on_state(action);
        return ask(scheduler, command.index);
      case Kind::kStart:
        return start(scheduler, command);
      case Kind::kStop:
        for (Worker& worker : workers_) {
          const bool is_it = worker.turn == turn_ && worker.index == command.index && worker.attempt > 0;
          if (is_it) worker.thread.request_stop();
        }
        return true;
      case Kind::kEnded:
        observer_.on_result(action);
        return true;
    }
    return true;
  }

  bool start(ActionScheduler& scheduler, const ActionScheduler::Command& command) {
    const std::size_t index = command.index;
    if (command.attempt == 1) {
      Status intent = observer_.on_intent(scheduler.action(index), scheduler.arguments(index));
      if (!intent) {
        scheduler.refuse(index, std::move(intent).error());
        return false;
      }
    }
    observer_.on_state(scheduler.action(index));
    Tool& tool = scheduler.tool(index);
    Event event{.kind = Event::Kind::kEnd, .turn = turn_, .index = index, .attempt = command.attempt};
    auto work = [this, &tool, arguments = scheduler.arguments(index), event](const std::stop_token& stop) mutable {
      event.outcome = run_caught(tool, arguments, stop);
      events_.push(std::move(event));
    };
    const bool is_write = tool.description().tool_class != ToolClass::kRead;
    if (launch(index, command.attempt, is_write, std::move(work))) return true;
    scheduler.end(index, command.attempt, fail(Code::kUnavailable, "no thread can be started"));
    return false;
  }

  bool ask(ActionScheduler& scheduler, std::size_t index) {
    const ToolDescription& tool = scheduler.tool(index).description();
    Event event{.kind = Event::Kind::kDecision, .turn = turn_, .index = index};
    auto work = [this, &tool, action = scheduler.action(index), arguments = scheduler.arguments(index),
                 event](const std::stop_token& stop) mutable {
      try {
        event.decision = approver_ ? approver_(action, arguments, tool, stop)
                                   : Decision{Verdict::kDeny, "there is nobody to be asked"};
      } catch (const std::exception&) {
        event.decision = {Verdict::kDeny, "the question could not be asked"};
      }
      events_.push(std::move(event));
    };
    if (launch(index, 0, false, std::move(work))) return true;
    scheduler.decide(index, {Verdict::kDeny, "the question could not be asked"});
    return false;
  }

  template <typename Work>
  bool launch(std::size_t index, std::size_t attempt, bool is_write, Work work) {
    Worker& worker = workers_.emplace_back();
    worker.turn = turn_;
    worker.index = index;
    worker.attempt = attempt;
    worker.is_write = is_write;
    try {
      worker.thread = std::jthread(std::move(work));
    } catch (const std::system_error&) {
      workers_.pop_back();
      return false;
    }
    return true;
  }

  void wait(ActionScheduler& scheduler) {
    const auto until = scheduler.next_time();
    auto event = until ? events_.pop_until(*until) : events_.pop();
    for (; event; event = events_.try_pop()) {
      forget(*event);
      if (event->turn != turn_) continue;
      if (event->kind == Event::Kind::kEnd) {
        scheduler.end(event->index, event->attempt, std::move(event->outcome));
      } else if (event->kind == Event::Kind::kDecision) {
        scheduler.decide(event->index, std::move(event->decision));
      } else {
        stop_questions();
        scheduler.stop();
      }
    }
  }

  void stop_questions() {
    for (Worker& worker : workers_) {
      if (worker.attempt == 0) worker.thread.request_stop();
    }
  }

  // The thread that put this event has nothing left to do.
  void forget(const Event& event) {
    if (event.kind == Event::Kind::kStop) return;
    workers_.remove_if([&](const Worker& worker) {
      return worker.turn == event.turn && worker.index == event.index && worker.attempt == event.attempt;
    });
  }

  const ToolRegistry& tools_;
  const ActionLimits limits_;
  const Approver approver_;
  ActionObserver& observer_;
  const base::Clock& clock_;
  base::BoundedQueue<Event> events_{kQueueCapacity, base::WhenFull::kWait};
  std::uint64_t turn_ = 0;
  std::list<Worker> workers_;  // last: joined before the queue ends
};

}  // namespace

std::unique_ptr<ActionRunner> make_action_runner(const ToolRegistry& tools, const ActionLimits& limits,
                                                 Approver approver, ActionObserver& observer,
                                                 const base::Clock& clock) {
  return std::make_unique<ThreadedRunner>(tools, limits, std::move(approver), observer, clock);
}

}  // namespace autoglm::agent

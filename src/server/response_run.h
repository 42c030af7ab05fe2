// SPDX-License-Identifier: Apache-2.0
// Makes one response: turns of the model, with the calls of our own tools between them, until it answers, asks its
// client to run a function or to give leave, or reaches a limit. On a thread of its own, but for prepare(); the
// engine's thread only hands text over.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "agent/action_runner.h"
#include "agent/agent_loop.h"
#include "protocol/response_object.h"
#include "server/response_output.h"
#include "server/response_prompts.h"
#include "server/response_stream.h"
#include "server/service.h"

namespace autoglm::server {

class ResponseRun final : private agent::ActionObserver {
 public:
  ResponseRun(Service& service, ResponseJob job, std::shared_ptr<Reply> reply, std::stop_source stop);
  ~ResponseRun() override;

  /// Reads the conversation and makes the first turn's prompt, on a worker: what is wrong with the request is told
  /// before anything is begun.
  ApiResult<void> prepare();
  /// What it looks like before its end.
  json::Object so_far() const;
  /// Makes the response, answers, stores it. Gives the whole object.
  std::string run(std::stop_token stop);

 private:
  struct TurnCall {
    std::size_t index = 0;  // of its item
    const ResponseTool* tool = nullptr;
    agent::ActionCall call;
    bool is_broken = false;
  };

  // The loop.
  ApiResult<void> make();
  ApiResult<void> take_turn();
  ApiResult<generation::Finish> generate(const ResponseTurn& turn);
  void read(const std::vector<text::ToolEvent>& events);
  void begin_call(const std::string& name);
  void end_call();
  void run_approved();
  bool act(bool is_cut);
  void run_calls(std::vector<agent::ActionCall> calls);
  std::string reason_not_to_run(bool is_cut, bool waits_for_leave, std::size_t runnable) const;
  std::size_t reasoning_tokens() const;
  std::size_t token_room(std::size_t prompt_tokens) const;
  bool may_call_on() const;

  // Its end.
  void end(std::string_view status, std::string_view reason = {});
  json::Object finished_object();
  void keep(json::Object& response);
  void answer(const json::Object& response);

  Status on_intent(const agent::Action&, const json::Object&) override { return {}; }
  void on_state(const agent::Action&) override {}
  void on_result(const agent::Action& action) override;

  Service& service_;
  const ResponseJob job_;
  const std::shared_ptr<Reply> reply_;
  const std::shared_ptr<ResponseStream> stream_;  // null = sent whole
  const protocol::ResponseHead head_;
  const agent::RunLimits limits_;
  const base::Time began_;
  std::stop_token stop_;
  ResponsePrompts prompts_;
  ResponseOutput output_;
  std::unique_ptr<agent::ActionRunner> runner_;  // made when there is something to run

  std::optional<protocol::Conversation> first_;  // as prepare() read it
  std::optional<ResponseTurn> first_turn_;
  std::vector<TurnCall> calls_;       // of this turn
  std::string reasoning_;             // of this turn
  std::vector<std::size_t> at_work_;  // items of the calls that run now
  std::size_t turns_ = 0;
  std::size_t own_calls_ = 0;  // that were run
  protocol::UsageCount usage_;
  bool has_ended_ = false;
  protocol::ResponseState state_;
};

}  // namespace autoglm::server

// SPDX-License-Identifier: Apache-2.0
// What a model's answer says: its text and the calls in it, read while it is written. One thread at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/action.h"
#include "text/tool_format.h"

namespace autoglm::agent {

struct ReadTurn {
  std::string text;  // what is not a call, thinking left out
  std::string reasoning;
  std::vector<ActionCall> calls;  // ids are not set; `unusable` says why a call cannot be run
  std::size_t invalid_calls = 0;
  bool is_cut = false;  // at a length limit
};

class TurnReader final {
 public:
  /// `tools` must outlive the reader.
  TurnReader(text::ToolFormat format, std::span<const text::ToolSignature> tools, bool begins_in_reasoning = false);

  /// Reads on; returns what can be shown of it: text that is no call.
  std::string push(std::string_view text);
  /// What was read so far. Of the last one only the name is there while it is being read.
  std::span<const ActionCall> calls() const { return turn_.calls; }
  bool is_in_call() const { return is_in_call_; }
  /// Nothing that comes from here on counts.
  void stop() { is_stopped_ = true; }
  bool is_stopped() const { return is_stopped_; }
  /// The end. `is_cut`: the answer ended at a length limit.
  ReadTurn finish(bool is_cut);

 private:
  std::string take(const std::vector<text::ToolEvent>& events);
  void end_call();

  std::unique_ptr<text::ToolCallParser> parser_;
  ReadTurn turn_;
  std::string arguments_;  // of the call that is being read
  bool is_in_call_ = false;
  bool is_stopped_ = false;
};

}  // namespace autoglm::agent

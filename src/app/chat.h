// SPDX-License-Identifier: Apache-2.0
// A conversation on the terminal with a Generator: history, /commands, Ctrl-C. `run` and `serve --chat` use it. Main
// thread, with Interrupts installed.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "generation/generator.h"
#include "telemetry/stages.h"

namespace autoglm::app {

struct ChatOptions {
  std::string system;
  generation::Sampling sampling;
  std::size_t max_tokens = 0;  // the most of each answer, as far as the context leaves them; 0 = all of them
  bool shows_profile = false;  // where the time of each answer went, on stderr
};

/// kInvalidArgument when the model came without a tokenizer: there is nothing to say to it.
Status check_can_chat(const generation::ModelCard& card);

class Chat final {
 public:
  Chat(generation::Generator& generator, ChatOptions options);

  /// One answer to `text`, streamed to stdout; both join the history. Errors: as take_answer().
  Status say(std::string_view text);
  /// Reads lines from the terminal until /exit, Ctrl-D or SIGTERM.
  Status converse();

  /// Back to the system prompt alone.
  void reset();
  /// The history, oldest first.
  const json::Array& messages() const { return messages_; }

 private:
  enum class Next { kGoOn, kLeave };
  Next obey(std::string_view command);
  Result<generation::Request> make_request();
  Result<std::vector<generation::TokenId>> prompt() const;
  bool forget_oldest();
  void print_profile(const generation::Usage& usage, base::Time begin);

  generation::Generator& generator_;
  const ChatOptions options_;
  json::Array messages_;
  telemetry::StageTimes profiled_;  // what earlier answers took; the first one's profile tells of loading too
};

/// Control bytes out, but for line breaks and tabs: what a model says must not command a terminal. Text for a file or a
/// pipe goes out as it is.
std::string safe_for_terminal(std::string_view text);

}  // namespace autoglm::app

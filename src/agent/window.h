// SPDX-License-Identifier: Apache-2.0
// What of a conversation the model sees, within a budget of tokens. A window is the conversation itself as long as that
// fits, so that each window begins with the one before it and its KV is reused; when it does not fit any more, the
// oldest whole turns become one summary, enough of them that the next windows have room to grow again. Works on values;
// knows no store. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "agent/action.h"
#include "agent/result_lines.h"
#include "base/json.h"
#include "base/result.h"

namespace autoglm::agent {

struct WindowLimits {
  std::size_t context_tokens = 4096;  // prompt and answer together
  std::size_t answer_tokens = 1024;   // kept free for the answer
  std::size_t result_tokens = 1024;   // most of one tool result in the window; the rest by read_result
  std::size_t memory_tokens = 256;    // of notes that are given with a task
  std::size_t summary_tokens = 256;   // of what stands for old turns
  double compact_above = 0.85;        // share of the prompt's room above which old turns are summarised ...
  double compact_to = 0.5;            // ... until no more than this share is used
};

/// Tokens of a rendered conversation, tools, template and the beginning of the answer included.
using CountTokens = std::function<Result<std::size_t>(const json::Array& messages)>;
/// A summary of at most `max_tokens` of a conversation, written by the model. `messages` begin like the last window, so
/// their KV is there: what asks for the summary goes behind them.
using Summarise = std::function<Result<std::string>(const json::Array& messages, std::size_t max_tokens)>;

// One message of the conversation.
struct Entry {
  std::int64_t id = 0;   // in the store
  std::int64_t run = 0;  // each run's first message is its task
  json::Object message;
  std::size_t step = 0;  // whose result a tool's message shows
};

struct Conversation {
  std::string system;          // pinned; may be empty
  std::string summary;         // of what came before the entries; empty when nothing did
  std::vector<Entry> entries;  // in order
  std::string task;            // of the run in whose middle the entries begin, or of the current one without entries
};

/// The window of the whole conversation: the system text, the summary with the task, the entries.
json::Array messages_of(const Conversation& conversation);

struct FittedWindow {
  json::Array messages;
  bool is_compacted = false;            // it does not begin with the last one: something had to go
  std::vector<std::int64_t> shortened;  // messages that show less of their result than before
};

class Window final {
 public:
  Window(const WindowLimits& limits, CountTokens count, Summarise summarise);

  /// Tokens that a prompt may have.
  std::size_t room() const { return limits_.context_tokens - limits_.answer_tokens; }
  /// Tokens of a text as part of a message.
  Result<std::size_t> tokens_of(std::string_view text) const;
  /// `text` of step `step` within its share of a turn with `results` results.
  Result<std::string> clip(std::string_view text, std::size_t step, std::size_t results) const;

  /// Errors: kExhausted (system text, tools and task alone do not fit).
  Status check_fits(const std::string& system, const std::string& task) const;
  /// The messages of the next turn. Summarises the oldest turns of `conversation` when they take too much room, shows
  /// less of the newest results when that is not enough, and the summary alone in the last resort. `actions` have the
  /// results whole.
  ///   Errors   kExhausted (system text, tools and task alone do not fit), those of `count`
  Result<FittedWindow> fit(Conversation& conversation, std::span<const Action> actions) const;

 private:
  Result<std::size_t> least_cut(const Conversation& conversation) const;
  Status compact(Conversation& conversation, std::size_t cut) const;
  Result<bool> shorten_results(Conversation& conversation, std::span<const Action> actions,
                               std::vector<std::int64_t>& shortened) const;
  Status keep_summary_only(Conversation& conversation) const;
  Result<std::size_t> tokens(const Conversation& conversation) const;
  std::string too_small(std::size_t needed) const;

  const WindowLimits limits_;
  const CountTokens count_;
  const Summarise summarise_;
};

}  // namespace autoglm::agent

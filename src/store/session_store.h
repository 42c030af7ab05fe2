// SPDX-License-Identifier: Apache-2.0
// An agent's lasting memory in one SQLite file (WAL, STRICT tables): sessions, runs, messages, steps with their intents
// and results, notes for remember and recall. What a call has written is durable when it returns. One connection, one
// mutex; any thread. Never opens a file that a newer version of the schema wrote.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace autoglm::store {

struct SessionRow {
  std::string id;  // [A-Za-z0-9_-]{1,64}
  std::int64_t created_unix_seconds = 0;
  std::int64_t changed_unix_seconds = 0;
  std::size_t runs = 0;
  std::string title;  // the first task, shortened
};

struct RunRow {
  std::int64_t id = 0;
  std::string session;
  std::string task;
  std::string model;
  std::string state;   // "running", "done", "failed", "cancelled", "limit"
  std::string answer;  // or the reason
  std::int64_t created_unix_seconds = 0;
};

// A message of a run in the order of the conversation, as the chat template will see it.
struct MessageRow {
  std::int64_t id = 0;
  std::int64_t run = 0;
  std::string json;  // {"role":...}
};

struct StepRow {
  std::int64_t run = 0;
  std::size_t step = 0;  // 1.. within the run
  std::size_t turn = 0;
  std::string call_id;
  std::string tool;
  std::string arguments;              // JSON as run, references resolved
  std::string state;                  // agent::state_name; "running" of a dead process = its outcome is unknown
  std::optional<std::string> result;  // absent until it ended
  double seconds = 0;
};

struct NoteRow {
  std::int64_t id = 0;
  std::string text;
  std::int64_t created_unix_seconds = 0;
};

class SessionStore {
 public:
  virtual ~SessionStore() = default;

  /// ":memory:" keeps nothing. Errors: kCorrupt (not a database of ours, damaged: quick_check), kPermissionDenied,
  /// kUnavailable (locked by another process for longer than 5 s), kExhausted (disk full).
  static Result<std::unique_ptr<SessionStore>> open(const std::filesystem::path& file, const base::Clock& clock);

  // Sessions and runs.
  virtual Result<std::string> create_session() = 0;
  virtual Result<std::optional<SessionRow>> find_session(std::string_view id) = 0;
  virtual Result<std::vector<SessionRow>> sessions(std::size_t limit) = 0;  // newest first
  virtual Status remove_session(std::string_view id) = 0;
  virtual Result<std::int64_t> begin_run(std::string_view session, std::string_view task, std::string_view model) = 0;
  virtual Status end_run(std::int64_t run, std::string_view state, std::string_view answer) = 0;
  virtual Result<std::optional<RunRow>> find_run(std::int64_t run) = 0;
  virtual Result<std::vector<RunRow>> runs(std::string_view session) = 0;  // oldest first

  // The conversation.
  virtual Status append_messages(std::int64_t run, const std::vector<std::string>& messages) = 0;
  virtual Result<std::vector<MessageRow>> messages(std::string_view session) = 0;  // of all its runs, in order

  // Steps: an intent is committed before the effect, a result after it.
  virtual Status begin_step(const StepRow& step) = 0;
  virtual Status end_step(std::int64_t run, std::size_t step, std::string_view state, std::string_view result,
                          double seconds) = 0;
  virtual Result<std::vector<StepRow>> steps(std::int64_t run) = 0;

  // Memory: FTS5. recall() takes a caller's words, not FTS5's query language.
  virtual Result<std::int64_t> remember(std::string_view session, std::string_view text) = 0;
  virtual Result<std::vector<NoteRow>> recall(std::string_view session, std::string_view words, std::size_t limit) = 0;
};

}  // namespace autoglm::store

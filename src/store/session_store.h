// SPDX-License-Identifier: Apache-2.0
// An agent's lasting memory in one SQLite file: sessions, runs, messages, steps with their intents and results, notes
// for remember and recall. What a call has written is on the disk when it returns, and a call that failed has written
// nothing. The file belongs to one process while it is open, so whatever it shows as begun and not ended was begun by a
// process that is gone. One connection, one mutex; any thread. docs/formats/sessions.md describes the file.
#pragma once

#include <chrono>
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
  std::string id;     // [A-Za-z0-9_-]{1,64}
  std::string title;  // the first task, shortened
  std::size_t runs = 0;
  std::int64_t created_unix_seconds = 0;
  std::int64_t changed_unix_seconds = 0;
};

struct RunRow {
  std::int64_t id = 0;
  std::string session;
  std::string system;  // the pinned text
  std::string task;
  std::string model;
  // "running" (in a file just opened: its process is gone), "interrupted" (that, and another run came after it),
  // "done", "failed", "cancelled", "limit"
  std::string state;
  std::string answer;  // or the reason
  std::int64_t created_unix_seconds = 0;
};

// A message in the order of the conversation, as the chat template will see it.
struct MessageRow {
  std::int64_t id = 0;
  std::int64_t run = 0;
  std::string json;  // {"role":...}
};

// What stands for the oldest messages of a session once they do not fit any more. The messages themselves stay.
struct SummaryRow {
  std::int64_t last_message = 0;  // it tells of all messages up to this one
  std::string text;
};

struct StepRow {
  std::int64_t run = 0;
  std::size_t step = 0;  // counts from 1 through the session
  std::size_t turn = 0;
  std::string call_id;
  std::string tool;
  std::string arguments;              // JSON as run, references resolved
  std::string state;                  // agent::state_name
  std::optional<std::string> result;  // absent until it ended
  double seconds = 0;
};

struct NoteRow {
  std::int64_t id = 0;
  std::string text;
  std::int64_t created_unix_seconds = 0;
};

/// 1 to 64 letters, digits, '-' and '_'.
bool is_session_id(std::string_view id);

/// Whether somebody chose this id: those that create_session() makes look otherwise.
bool is_chosen_name(std::string_view session);

class SessionStore {
 public:
  static constexpr std::size_t kMaxNoteBytes = 4096;
  static constexpr std::size_t kMaxNotes = 10'000;  // of one session

  virtual ~SessionStore() = default;

  /// Opens or creates the file, mode 0600; ":memory:" keeps nothing. Waits up to `patience` for a process that has it.
  ///   Errors   kUnavailable (in use for longer than that), kCorrupt (damaged, or not a file of ours), kInvalidArgument
  ///            (written by a newer version, or not a regular file), kNotFound (no such folder), kPermissionDenied,
  ///            kExhausted (disk full). All later calls: kExhausted, kUnavailable (the disk fails), kCorrupt
  static Result<std::unique_ptr<SessionStore>> open(const std::filesystem::path& file, const base::Clock& clock,
                                                    std::chrono::milliseconds patience = std::chrono::seconds(5));

  // Sessions.
  /// Under `id`, or under one that cannot be guessed. Errors: kInvalidArgument (taken, or no name for a session).
  virtual Result<std::string> create_session(std::string_view id = {}) = 0;
  virtual Result<std::optional<SessionRow>> find_session(std::string_view id) = 0;
  virtual Result<std::vector<SessionRow>> sessions(std::size_t limit) = 0;  // last changed first
  /// With its runs, messages, steps and notes. Errors: kNotFound.
  virtual Status remove_session(std::string_view id) = 0;

  /// A run takes its session for itself: two at once would mix their messages. Not durable; ends with release(), or
  /// with the process. Errors: kUnavailable (taken).
  virtual Status claim(std::string_view session) = 0;
  virtual void release(std::string_view session) = 0;

  // Runs.
  struct Begun {
    std::int64_t run = 0;
    std::vector<std::int64_t> messages;
  };
  /// Takes the run's session, system, task and model, and its first messages, in one commit. Errors: kNotFound.
  virtual Result<Begun> begin_run(const RunRow& run, const std::vector<std::string>& messages) = 0;
  /// Also takes an ended run up again, with state "running". Errors: kNotFound.
  virtual Status set_run_state(std::int64_t run, std::string_view state, std::string_view answer) = 0;
  virtual Result<std::optional<RunRow>> find_run(std::int64_t run) = 0;
  virtual Result<std::vector<RunRow>> runs(std::string_view session) = 0;  // oldest first

  // The conversation.
  /// All of them or none; gives their ids, rising. Errors: kNotFound (no such run).
  virtual Result<std::vector<std::int64_t>> append_messages(std::int64_t run,
                                                            const std::vector<std::string>& messages) = 0;
  virtual Result<std::vector<MessageRow>> messages(std::string_view session) = 0;  // of all its runs, in order
  /// For a message that shows less of a result from now on. Errors: kNotFound.
  virtual Status replace_message(std::int64_t message, std::string_view json) = 0;
  virtual Status set_summary(std::string_view session, const SummaryRow& summary) = 0;
  virtual Result<std::optional<SummaryRow>> summary(std::string_view session) = 0;

  // Steps: an intent is committed before the effect, a result after it, once and for ever.
  /// `step` without a result. Errors: kInvalidArgument (begun before), kNotFound (no such run).
  virtual Status begin_step(const StepRow& step) = 0;
  /// Its state, result and seconds; the whole row when it ended without having been begun. Errors: kInvalidArgument
  /// (it has a result already).
  virtual Status end_step(const StepRow& step) = 0;
  virtual Result<std::vector<StepRow>> steps(std::int64_t run) = 0;
  virtual Result<std::vector<StepRow>> session_steps(std::string_view session) = 0;  // of all its runs, by number
  virtual Result<std::optional<StepRow>> find_step(std::string_view session, std::size_t step) = 0;

  // Memory: notes of a session, found again by their words.
  /// Errors: kInvalidArgument (empty or too long), kExhausted (too many notes), kNotFound (no such session).
  virtual Result<std::int64_t> remember(std::string_view session, std::string_view text) = 0;
  /// Notes that hold any of `words`, best first: a person's or a model's words, not a query language. The newest notes
  /// when `words` has none to look for.
  virtual Result<std::vector<NoteRow>> recall(std::string_view session, std::string_view words, std::size_t limit) = 0;
};

}  // namespace autoglm::store

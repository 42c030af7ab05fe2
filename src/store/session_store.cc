// SPDX-License-Identifier: Apache-2.0
#include "store/session_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/mutex.h"
#include "base/random.h"
#include "base/utf8.h"
#include "store/database.h"
#include "store/note_words.h"
#include "store/session_schema.h"

namespace autoglm::store {
namespace {

constexpr std::size_t kMaxIdBytes = 64;
constexpr std::size_t kTitleBytes = 80;

constexpr std::string_view kSessionColumns =
    "SELECT id, title, (SELECT count(*) FROM runs WHERE session = sessions.id), created, changed FROM sessions ";
constexpr std::string_view kRunColumns = "SELECT id, session, system, task, model, state, answer, created FROM runs ";
constexpr std::string_view kStepColumns =
    "SELECT run, step, turn, call_id, tool, arguments, steps.state, result, seconds FROM steps ";

std::int64_t number(std::size_t count) { return static_cast<std::int64_t>(count); }

// 128 bits, so that an id is also the right to see what it names.
std::string new_session_id() { return fmt::format("{:016x}{:016x}", base::entropy_bits(), base::entropy_bits()); }

// The first line, cut between characters.
std::string title_of(std::string_view task) {
  task = task.substr(0, task.find('\n'));
  if (task.size() <= kTitleBytes) return std::string(task);
  std::string_view left = task;
  std::size_t size = 0;
  while (size + base::utf8_step(left).size <= kTitleBytes) {
    size += base::utf8_step(left).size;
    left = task.substr(size);
  }
  return std::string(task.substr(0, size)) + "...";
}

SessionRow session_row(const Rows& rows) {
  return {.id = rows.text(0),
          .title = rows.text(1),
          .runs = static_cast<std::size_t>(rows.integer(2)),
          .created_unix_seconds = rows.integer(3),
          .changed_unix_seconds = rows.integer(4)};
}

RunRow run_row(const Rows& rows) {
  return {.id = rows.integer(0),
          .session = rows.text(1),
          .system = rows.text(2),
          .task = rows.text(3),
          .model = rows.text(4),
          .state = rows.text(5),
          .answer = rows.text(6),
          .created_unix_seconds = rows.integer(7)};
}

MessageRow message_row(const Rows& rows) {
  return {.id = rows.integer(0), .run = rows.integer(1), .json = rows.text(2)};
}

SummaryRow summary_row(const Rows& rows) { return {.last_message = rows.integer(0), .text = rows.text(1)}; }

StepRow step_row(const Rows& rows) {
  return {.run = rows.integer(0),
          .step = static_cast<std::size_t>(rows.integer(1)),
          .turn = static_cast<std::size_t>(rows.integer(2)),
          .call_id = rows.text(3),
          .tool = rows.text(4),
          .arguments = rows.text(5),
          .state = rows.text(6),
          .result = rows.optional_text(7),
          .seconds = rows.real(8)};
}

NoteRow note_row(const Rows& rows) {
  return {.id = rows.integer(0), .text = rows.text(1), .created_unix_seconds = rows.integer(2)};
}

template <typename Row>
Result<std::vector<Row>> all(Result<Rows> found, Row (*read)(const Rows&)) {
  Rows rows = TRY(std::move(found));
  std::vector<Row> list;
  while (TRY(rows.next())) list.push_back(read(rows));
  return list;
}

template <typename Row>
Result<std::optional<Row>> first(Result<Rows> found, Row (*read)(const Rows&)) {
  Rows rows = TRY(std::move(found));
  if (!TRY(rows.next())) return std::nullopt;
  return read(rows);
}

class SqliteSessionStore final : public SessionStore {
 public:
  SqliteSessionStore(std::unique_ptr<Database> database, const base::Clock& clock)
      : database_(std::move(database)), clock_(clock) {}

  Status check_index();

  Result<std::string> create_session(std::string_view id) override;
  Result<std::optional<SessionRow>> find_session(std::string_view id) override;
  Result<std::vector<SessionRow>> sessions(std::size_t limit) override;
  Status remove_session(std::string_view id) override;
  Status claim(std::string_view session) override;
  void release(std::string_view session) override;
  Result<Begun> begin_run(const RunRow& run, const std::vector<std::string>& messages) override;
  Status set_run_state(std::int64_t run, std::string_view state, std::string_view answer) override;
  Result<std::optional<RunRow>> find_run(std::int64_t run) override;
  Result<std::vector<RunRow>> runs(std::string_view session) override;
  Result<std::vector<std::int64_t>> append_messages(std::int64_t run,
                                                    const std::vector<std::string>& messages) override;
  Result<std::vector<MessageRow>> messages(std::string_view session) override;
  Status replace_message(std::int64_t message, std::string_view json) override;
  Status set_summary(std::string_view session, const SummaryRow& summary) override;
  Result<std::optional<SummaryRow>> summary(std::string_view session) override;
  Status begin_step(const StepRow& step) override;
  Status end_step(const StepRow& step) override;
  Result<std::vector<StepRow>> steps(std::int64_t run) override;
  Result<std::vector<StepRow>> session_steps(std::string_view session) override;
  Result<std::optional<StepRow>> find_step(std::string_view session, std::size_t step) override;
  Result<std::int64_t> remember(std::string_view session, std::string_view text) override;
  Result<std::vector<NoteRow>> recall(std::string_view session, std::string_view words, std::size_t limit) override;

 private:
  // Within a transaction, under mutex_.
  Result<std::vector<std::int64_t>> insert_messages(std::int64_t run, const std::vector<std::string>& messages);
  Status touch_session_of(std::int64_t run);

  base::Mutex mutex_;
  const std::unique_ptr<Database> database_;
  const base::Clock& clock_;
  std::set<std::string, std::less<>> claimed_ GUARDED_BY(mutex_);
};

// The index is made from the notes, so damage to it costs nothing but making it anew.
Status SqliteSessionStore::check_index() {
  const base::MutexLock lock(mutex_);
  if (database_->run("INSERT INTO notes_index(notes_index, rank) VALUES('integrity-check', 1)")) return {};
  return database_->run("INSERT INTO notes_index(notes_index) VALUES('rebuild')");
}

Result<std::string> SqliteSessionStore::create_session(std::string_view id) {
  const std::string chosen = id.empty() ? new_session_id() : std::string(id);
  if (!is_session_id(chosen)) {
    return fail(Code::kInvalidArgument, "a session's name has 1 to 64 letters, digits, '-' or '_'");
  }
  const base::MutexLock lock(mutex_);
  const std::int64_t now = clock_.unix_seconds();
  TRY(database_->run("INSERT INTO sessions(id, created, changed) VALUES(?, ?, ?)", {chosen, now, now}));
  return chosen;
}

Result<std::optional<SessionRow>> SqliteSessionStore::find_session(std::string_view id) {
  const base::MutexLock lock(mutex_);
  return first(database_->query(std::string(kSessionColumns) + "WHERE id = ?", {id}), session_row);
}

Result<std::vector<SessionRow>> SqliteSessionStore::sessions(std::size_t limit) {
  const base::MutexLock lock(mutex_);
  return all(database_->query(std::string(kSessionColumns) + "ORDER BY changed DESC, id LIMIT ?", {number(limit)}),
             session_row);
}

Status SqliteSessionStore::remove_session(std::string_view id) {
  const base::MutexLock lock(mutex_);
  return database_->transaction([&]() -> Status {
    TRY(
        database_->run("INSERT INTO notes_index(notes_index, rowid, words) "
                       "SELECT 'delete', id, words FROM notes WHERE session = ?",
                       {id}));
    TRY(database_->run("DELETE FROM sessions WHERE id = ?", {id}));
    if (database_->changed_rows() == 0) return fail(Code::kNotFound, "there is no such session");
    return {};
  });
}

Status SqliteSessionStore::claim(std::string_view session) {
  const base::MutexLock lock(mutex_);
  if (claimed_.emplace(session).second) return {};
  return fail(Code::kUnavailable, "another run is at work on this session");
}

void SqliteSessionStore::release(std::string_view session) {
  const base::MutexLock lock(mutex_);
  claimed_.erase(claimed_.find(session));
}

Result<SessionStore::Begun> SqliteSessionStore::begin_run(const RunRow& run, const std::vector<std::string>& messages) {
  const base::MutexLock lock(mutex_);
  Begun begun;
  TRY(database_->transaction([&]() -> Status {
    TRY(database_->run("INSERT INTO runs(session, system, task, model, state, created) VALUES(?, ?, ?, ?, ?, ?)",
                       {run.session, run.system, run.task, run.model, "running", clock_.unix_seconds()}));
    begun.run = database_->last_id();
    TRY(database_->run("UPDATE sessions SET title = ? WHERE id = ? AND title = ''", {title_of(run.task), run.session}));
    begun.messages = TRY(insert_messages(begun.run, messages));
    return touch_session_of(begun.run);
  }));
  return begun;
}

Status SqliteSessionStore::set_run_state(std::int64_t run, std::string_view state, std::string_view answer) {
  const base::MutexLock lock(mutex_);
  return database_->transaction([&]() -> Status {
    TRY(database_->run("UPDATE runs SET state = ?, answer = ? WHERE id = ?", {state, answer, run}));
    if (database_->changed_rows() == 0) return fail(Code::kNotFound, "there is no such run");
    return touch_session_of(run);
  });
}

Result<std::optional<RunRow>> SqliteSessionStore::find_run(std::int64_t run) {
  const base::MutexLock lock(mutex_);
  return first(database_->query(std::string(kRunColumns) + "WHERE id = ?", {run}), run_row);
}

Result<std::vector<RunRow>> SqliteSessionStore::runs(std::string_view session) {
  const base::MutexLock lock(mutex_);
  return all(database_->query(std::string(kRunColumns) + "WHERE session = ? ORDER BY id", {session}), run_row);
}

Result<std::vector<std::int64_t>> SqliteSessionStore::append_messages(std::int64_t run,
                                                                      const std::vector<std::string>& messages) {
  const base::MutexLock lock(mutex_);
  std::vector<std::int64_t> ids;
  TRY(database_->transaction([&]() -> Status {
    ids = TRY(insert_messages(run, messages));
    return touch_session_of(run);
  }));
  return ids;
}

Result<std::vector<std::int64_t>> SqliteSessionStore::insert_messages(std::int64_t run,
                                                                      const std::vector<std::string>& messages) {
  std::vector<std::int64_t> ids;
  for (const std::string& message : messages) {
    TRY(database_->run("INSERT INTO messages(run, json) VALUES(?, ?)", {run, message}));
    ids.push_back(database_->last_id());
  }
  return ids;
}

Status SqliteSessionStore::touch_session_of(std::int64_t run) {
  return database_->run("UPDATE sessions SET changed = ? WHERE id = (SELECT session FROM runs WHERE id = ?)",
                        {clock_.unix_seconds(), run});
}

Result<std::vector<MessageRow>> SqliteSessionStore::messages(std::string_view session) {
  const base::MutexLock lock(mutex_);
  return all(database_->query("SELECT messages.id, run, json FROM messages JOIN runs ON runs.id = run "
                              "WHERE session = ? ORDER BY messages.id",
                              {session}),
             message_row);
}

Status SqliteSessionStore::replace_message(std::int64_t message, std::string_view json) {
  const base::MutexLock lock(mutex_);
  TRY(database_->run("UPDATE messages SET json = ? WHERE id = ?", {json, message}));
  if (database_->changed_rows() == 0) return fail(Code::kNotFound, "there is no such message");
  return {};
}

Status SqliteSessionStore::set_summary(std::string_view session, const SummaryRow& summary) {
  const base::MutexLock lock(mutex_);
  return database_->run(
      "INSERT INTO summaries(session, last_message, text) VALUES(?, ?, ?) "
      "ON CONFLICT(session) DO UPDATE SET last_message = excluded.last_message, text = excluded.text",
      {session, summary.last_message, summary.text});
}

Result<std::optional<SummaryRow>> SqliteSessionStore::summary(std::string_view session) {
  const base::MutexLock lock(mutex_);
  return first(database_->query("SELECT last_message, text FROM summaries WHERE session = ?", {session}), summary_row);
}

Status SqliteSessionStore::begin_step(const StepRow& step) {
  const base::MutexLock lock(mutex_);
  return database_->run(
      "INSERT INTO steps(run, step, turn, call_id, tool, arguments, state) VALUES(?, ?, ?, ?, ?, ?, ?)",
      {step.run, number(step.step), number(step.turn), step.call_id, step.tool, step.arguments, step.state});
}

Status SqliteSessionStore::end_step(const StepRow& step) {
  const base::MutexLock lock(mutex_);
  TRY(database_->run(
      "INSERT INTO steps(run, step, turn, call_id, tool, arguments, state, result, seconds) "
      "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(run, step) DO UPDATE "
      "SET state = excluded.state, result = excluded.result, seconds = excluded.seconds WHERE steps.result IS NULL",
      {step.run, number(step.step), number(step.turn), step.call_id, step.tool, step.arguments, step.state,
       std::string_view(step.result ? *step.result : ""), step.seconds}));
  if (database_->changed_rows() > 0) return {};
  return fail(Code::kInvalidArgument, "step " + std::to_string(step.step) + " has its result already");
}

Result<std::vector<StepRow>> SqliteSessionStore::steps(std::int64_t run) {
  const base::MutexLock lock(mutex_);
  return all(database_->query(std::string(kStepColumns) + "WHERE run = ? ORDER BY step", {run}), step_row);
}

Result<std::vector<StepRow>> SqliteSessionStore::session_steps(std::string_view session) {
  const base::MutexLock lock(mutex_);
  return all(
      database_->query(std::string(kStepColumns) + "JOIN runs ON runs.id = run WHERE session = ? ORDER BY step, run",
                       {session}),
      step_row);
}

Result<std::optional<StepRow>> SqliteSessionStore::find_step(std::string_view session, std::size_t step) {
  const base::MutexLock lock(mutex_);
  return first(database_->query(std::string(kStepColumns) +
                                    "JOIN runs ON runs.id = run WHERE session = ? AND step = ? ORDER BY run DESC",
                                {session, number(step)}),
               step_row);
}

Result<std::int64_t> SqliteSessionStore::remember(std::string_view session, std::string_view text) {
  if (text.empty() || text.size() > kMaxNoteBytes) {
    return fail(Code::kInvalidArgument, "a note has 1 to " + std::to_string(kMaxNoteBytes) + " bytes, this one has " +
                                            std::to_string(text.size()));
  }
  const base::MutexLock lock(mutex_);
  std::int64_t id = 0;
  TRY(database_->transaction([&]() -> Status {
    {
      Rows rows = TRY(database_->query("SELECT count(*) FROM notes WHERE session = ?", {session}));
      if (TRY(rows.next()) && rows.integer(0) >= number(kMaxNotes)) {
        return fail(Code::kExhausted, "the session has " + std::to_string(kMaxNotes) + " notes, which is the most");
      }
    }
    const std::string words = indexed_words(text);
    TRY(database_->run("INSERT INTO notes(session, text, words, created) VALUES(?, ?, ?, ?)",
                       {session, text, words, clock_.unix_seconds()}));
    id = database_->last_id();
    return database_->run("INSERT INTO notes_index(rowid, words) VALUES(?, ?)", {id, words});
  }));
  return id;
}

Result<std::vector<NoteRow>> SqliteSessionStore::recall(std::string_view session, std::string_view words,
                                                        std::size_t limit) {
  const std::string query = match_query(words);
  const base::MutexLock lock(mutex_);
  if (query.empty()) {
    return all(database_->query("SELECT id, text, created FROM notes WHERE session = ? ORDER BY id DESC LIMIT ?",
                                {session, number(limit)}),
               note_row);
  }
  return all(
      database_->query("SELECT notes.id, text, created FROM notes_index JOIN notes ON notes.id = notes_index.rowid "
                       "WHERE notes_index MATCH ? AND session = ? ORDER BY rank, notes.id DESC LIMIT ?",
                       {query, session, number(limit)}),
      note_row);
}

}  // namespace

bool is_session_id(std::string_view id) {
  const auto fits = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  return !id.empty() && id.size() <= kMaxIdBytes && std::ranges::all_of(id, fits);
}

bool is_chosen_name(std::string_view session) {
  return session.size() != 32 || session.find_first_not_of("0123456789abcdef") != std::string_view::npos;
}

Result<std::unique_ptr<SessionStore>> SessionStore::open(const std::filesystem::path& file, const base::Clock& clock,
                                                         std::chrono::milliseconds patience) {
  auto store = std::make_unique<SqliteSessionStore>(TRY(Database::open(file, kSessionSchema, patience)), clock);
  if (const Status checked = store->check_index(); !checked) return fail_in(file.string(), checked.error());
  return store;
}

}  // namespace autoglm::store

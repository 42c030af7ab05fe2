// SPDX-License-Identifier: Apache-2.0
#include "store/database.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/check.h"

namespace autoglm::store {
namespace {

constexpr int kPauseMs = 20;              // between two tries to get a file that is in use
constexpr int kMaxValueBytes = 64 << 20;  // of one text, and of one row
constexpr std::string_view kInMemory = ":memory:";

bool is_disk_full(int system_error) {
  return system_error == ENOSPC || system_error == EDQUOT || system_error == EFBIG;
}

// Makes the file before SQLite would, so that nobody else can read it for a moment either. An existing file is not
// opened here: closing any descriptor of a file drops all of the process's locks on it (fcntl(2)).
Status create_private(const std::filesystem::path& file) {
  struct stat found{};
  if (::stat(file.c_str(), &found) == 0) {
    if (S_ISREG(found.st_mode)) return {};
    return fail(Code::kInvalidArgument, "it is not a regular file");
  }
  const int descriptor = ::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0) {
    if (errno == EEXIST) return {};
    if (errno == ENOENT || errno == ENOTDIR) return fail(Code::kNotFound, "there is no such folder");
    if (is_disk_full(errno)) return fail(Code::kExhausted, "the disk is full");
    return fail(Code::kPermissionDenied, "it cannot be created");
  }
  ::close(descriptor);
  // The name must outlive a power failure as the contents do.
  const int folder = ::open(file.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
  return {};
}

// What the system said to the last write that failed, to the file or to its log. sqlite3_system_errno() looks at errno,
// which has other news by then.
int write_error(sqlite3* connection) {
  for (const int file : {SQLITE_FCNTL_JOURNAL_POINTER, SQLITE_FCNTL_FILE_POINTER}) {
    sqlite3_file* found = nullptr;
    sqlite3_file_control(connection, "main", file, &found);
    int said = 0;
    if (found && found->pMethods) found->pMethods->xFileControl(found, SQLITE_FCNTL_LAST_ERRNO, &said);
    if (said) return said;
  }
  return 0;
}

}  // namespace

Rows::Rows(Rows&& other) noexcept : database_(other.database_), statement_(std::exchange(other.statement_, nullptr)) {}

Rows::~Rows() {
  if (!statement_) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

Result<bool> Rows::next() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return std::unexpected(database_->error_of(code));
}

std::int64_t Rows::integer(int column) const { return sqlite3_column_int64(statement_, column); }
double Rows::real(int column) const { return sqlite3_column_double(statement_, column); }

std::string Rows::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return bytes ? std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))) : std::string();
}

std::optional<std::string> Rows::optional_text(int column) const {
  if (sqlite3_column_type(statement_, column) == SQLITE_NULL) return std::nullopt;
  return text(column);
}

Result<std::unique_ptr<Database>> Database::open(const std::filesystem::path& file, const Schema& schema,
                                                 std::chrono::milliseconds patience) {
  const bool in_memory = file == kInMemory;
  // Absolute, because SQLite takes names such as "file:..." for URIs.
  const std::filesystem::path path = in_memory ? file : std::filesystem::absolute(file);
  if (!in_memory) {
    if (const Status made = create_private(path); !made) return fail_in(file.string(), made.error());
  }
  for (std::chrono::milliseconds waited{0};; waited += std::chrono::milliseconds(kPauseMs)) {
    std::unique_ptr<Database> database(new Database(path));
    const Status connected = database->connect(schema);
    if (connected) return database;
    if (!database->was_busy_ || waited >= patience) return fail_in(file.string(), connected.error());
    database.reset();  // lets go of what it holds: two that begin at once must not wait for each other
    sqlite3_sleep(kPauseMs);
  }
}

Database::~Database() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  if (broken_ && connection_) sqlite3_db_config(connection_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_close(connection_);
}

Status Database::connect(const Schema& schema) {
  const int opened = sqlite3_open_v2(file_.c_str(), &connection_,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  if (opened != SQLITE_OK) return std::unexpected(error_of(opened));
  TRY(configure());
  const bool fresh = TRY(is_new(schema));
  TRY(execute("PRAGMA journal_mode=WAL"));
  TRY(execute("PRAGMA synchronous=FULL"));  // a commit is on the disk when it returns
  TRY(migrate(schema));
  if (!fresh) {
    TRY(check_tables(schema));
    TRY(check_pages());
    // A copy or a backup may have come with wider rights.
    if (::chmod(file_.c_str(), 0600) == 0) ::chmod((file_.string() + "-wal").c_str(), 0600);
  }
  return {};
}

// Everything that must hold before the first byte of the file is read.
Status Database::configure() {
  sqlite3_limit(connection_, SQLITE_LIMIT_LENGTH, kMaxValueBytes);
  sqlite3_limit(connection_, SQLITE_LIMIT_ATTACHED, 0);
  for (const auto [option, value] : {std::pair{SQLITE_DBCONFIG_DEFENSIVE, 1},
                                     {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
                                     {SQLITE_DBCONFIG_ENABLE_FKEY, 1},
                                     {SQLITE_DBCONFIG_DQS_DDL, 0},
                                     {SQLITE_DBCONFIG_DQS_DML, 0},
                                     {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
                                     {SQLITE_DBCONFIG_ENABLE_VIEW, 0}}) {
    sqlite3_db_config(connection_, option, value, nullptr);
  }
  // Before the first read: in exclusive mode the log's index stays in our memory, and no other process gets in.
  TRY(execute("PRAGMA locking_mode=EXCLUSIVE"));
  TRY(execute("PRAGMA cell_size_check=ON"));
  TRY(execute("PRAGMA mmap_size=0"));
  TRY(execute("PRAGMA temp_store=MEMORY"));
  TRY(execute("PRAGMA wal_autocheckpoint=1000"));  // pages; on the one connection there is
  return {};
}

// Refuses what is not ours before anything of it is changed.
Result<bool> Database::is_new(const Schema& schema) {
  const std::int64_t application = TRY(integer_of("PRAGMA application_id"));
  const std::int64_t version = TRY(integer_of("PRAGMA user_version"));
  if (application == 0 && version == 0 && TRY(integer_of("SELECT count(*) FROM sqlite_schema")) == 0) return true;
  if (application != schema.application_id) {
    return fail(Code::kCorrupt, "this SQLite file was not written by this program (application_id " +
                                    std::to_string(application) + ")");
  }
  const auto newest = static_cast<std::int64_t>(schema.migrations.size());
  if (version > newest) {
    return fail(Code::kInvalidArgument, "written by a newer version of this program (schema " +
                                            std::to_string(version) + ", this one knows " + std::to_string(newest) +
                                            ")");
  }
  if (version < 1) return fail(Code::kCorrupt, "the schema's version is " + std::to_string(version));
  return false;
}

Status Database::migrate(const Schema& schema) {
  const std::int64_t version = TRY(integer_of("PRAGMA user_version"));
  if (version == static_cast<std::int64_t>(schema.migrations.size())) return {};
  return transaction([&]() -> Status {
    for (const char* step : schema.migrations.subspan(static_cast<std::size_t>(version))) TRY(execute(step));
    TRY(execute(("PRAGMA application_id=" + std::to_string(schema.application_id)).c_str()));
    return execute(("PRAGMA user_version=" + std::to_string(schema.migrations.size())).c_str());
  });
}

// Tables, indices, views and triggers must be those that the migrations make: a file from elsewhere brings no code of
// its own, and damage to the schema is seen before it is used.
Status Database::check_tables(const Schema& schema) {
  Database model{std::filesystem::path(kInMemory)};
  const int opened = sqlite3_open_v2(model.file_.c_str(), &model.connection_,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  if (opened != SQLITE_OK) return std::unexpected(model.error_of(opened));
  TRY(model.migrate(schema));
  if (TRY(tables()) == TRY(model.tables())) return {};
  return fail(Code::kCorrupt, "its tables are not those of schema " + std::to_string(schema.migrations.size()) +
                                  ": it is damaged or was changed by hand");
}

Result<std::string> Database::tables() {
  Rows rows = TRY(query("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema ORDER BY type, name"));
  std::string all;
  while (TRY(rows.next())) {
    for (int column = 0; column < 4; ++column) all += rows.text(column) + '\0';
  }
  return all;
}

Status Database::check_pages() {
  Rows rows = TRY(query("PRAGMA quick_check(1)"));
  if (!TRY(rows.next())) return fail(Code::kCorrupt, "it could not be checked");
  const std::string verdict = rows.text(0);
  if (verdict == "ok") return {};
  return fail(Code::kCorrupt, "it is damaged (" + verdict.substr(0, 200) +
                                  "); move it away to begin anew, or try what `sqlite3 FILE .recover` can save");
}

Result<Rows> Database::query(std::string_view sql, std::initializer_list<SqlValue> values) {
  if (broken_) return std::unexpected(*broken_);
  auto found = statements_.find(sql);
  if (found == statements_.end()) {
    sqlite3_stmt* statement = nullptr;
    const int code = sqlite3_prepare_v3(connection_, sql.data(), static_cast<int>(sql.size()),
                                        SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (code != SQLITE_OK) return std::unexpected(error_of(code));
    found = statements_.emplace(sql, statement).first;
  }
  sqlite3_stmt* const statement = found->second;
  CHECK(!sqlite3_stmt_busy(statement)) << sql;
  CHECK(sqlite3_bind_parameter_count(statement) == static_cast<int>(values.size())) << sql;
  Rows rows(*this, statement);
  int place = 0;
  for (const SqlValue& value : values) {
    ++place;
    int code = SQLITE_OK;
    if (const auto* integer = std::get_if<std::int64_t>(&value)) code = sqlite3_bind_int64(statement, place, *integer);
    if (const auto* real = std::get_if<double>(&value)) code = sqlite3_bind_double(statement, place, *real);
    if (const auto* text = std::get_if<std::string_view>(&value)) {
      // A view without bytes may be a null pointer, which SQLite would take for NULL.
      code = sqlite3_bind_text64(statement, place, text->empty() ? "" : text->data(), text->size(), SQLITE_TRANSIENT,
                                 SQLITE_UTF8);
    }
    if (code != SQLITE_OK) return std::unexpected(error_of(code));
  }
  return rows;
}

Status Database::run(std::string_view sql, std::initializer_list<SqlValue> values) {
  Rows rows = TRY(query(sql, values));
  while (TRY(rows.next())) {
  }
  return {};
}

Status Database::transaction(const std::function<Status()>& work) {
  TRY(run("BEGIN IMMEDIATE"));
  Status done = work();
  if (done) done = run("COMMIT");
  // Some errors have ended the transaction already.
  if (!done && !sqlite3_get_autocommit(connection_)) sqlite3_exec(connection_, "ROLLBACK", nullptr, nullptr, nullptr);
  return done;
}

std::int64_t Database::last_id() const { return sqlite3_last_insert_rowid(connection_); }
std::int64_t Database::changed_rows() const { return sqlite3_changes64(connection_); }

Status Database::execute(const char* sql) {
  const int code = sqlite3_exec(connection_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return std::unexpected(error_of(code));
  return {};
}

Result<std::int64_t> Database::integer_of(const char* sql) {
  Rows rows = TRY(query(sql));
  if (!TRY(rows.next())) return fail(Code::kCorrupt, std::string("no answer to ") + sql);
  return rows.integer(0);
}

Error Database::error_of(int code) {
  const int system_error = connection_ ? sqlite3_system_errno(connection_) : 0;
  const std::string said = connection_ ? sqlite3_errmsg(connection_) : sqlite3_errstr(code);
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      was_busy_ = true;
      return {Code::kUnavailable, "it is in use by another process; wait for that one to end, or name another file"};
    case SQLITE_FULL:
      return {Code::kExhausted, "the disk is full; nothing of this step was kept"};
    case SQLITE_TOOBIG:
      return {Code::kExhausted, "a text is larger than " + std::to_string(kMaxValueBytes >> 20) + " MiB"};
    case SQLITE_NOMEM:
      return {Code::kExhausted, "there is not enough memory"};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      // A full-text index can be made anew from what it indexes; anything else that is damaged cannot be trusted.
      if (code != SQLITE_CORRUPT_VTAB) broken_ = Error{Code::kCorrupt, "it is damaged or no database (" + said + ")"};
      return {Code::kCorrupt, "it is damaged or no database (" + said + ")"};
    case SQLITE_ERROR:
      // The version of the file, or of its full-text index, is no version that this SQLite knows.
      if (said != "unsupported file format" && !said.starts_with("invalid fts5 file format")) break;
      return {Code::kCorrupt, "it is damaged, or was written by a newer SQLite (" + said + ")"};
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return {Code::kPermissionDenied, "it may not be written (" + said + ")"};
    case SQLITE_CANTOPEN:
      if (is_disk_full(system_error)) return {Code::kExhausted, "the disk is full"};
      return {Code::kPermissionDenied, "it, or its log beside it, cannot be opened for writing (" + said + ")"};
    case SQLITE_CONSTRAINT:
      if (code == SQLITE_CONSTRAINT_FOREIGNKEY) return {Code::kNotFound, "there is no such session or run"};
      return {Code::kInvalidArgument, "this is recorded already, or not as it must be (" + said + ")"};
    case SQLITE_IOERR:
      if (code == SQLITE_IOERR_SHORT_READ) return {Code::kCorrupt, "it ends too early"};
      if (code == SQLITE_IOERR_WRITE && is_disk_full(write_error(connection_))) {
        return {Code::kExhausted, "the disk is full; nothing of this step was kept"};
      }
      // After a failed fsync the kernel may have dropped the pages, and the next fsync would succeed without them.
      if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC) {
        broken_ =
            Error{Code::kUnavailable, "the disk did not confirm a write; open the file anew to see what is there"};
        return *broken_;
      }
      return {Code::kUnavailable, "the disk reports an error (" + said + ")"};
    default:
      break;
  }
  return {Code::kInternal, "SQLite reports " + said};
}

}  // namespace autoglm::store

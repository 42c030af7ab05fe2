// SPDX-License-Identifier: Apache-2.0
#include "store/response_store.h"

#include "base/budget.h"
#include "base/mutex.h"
#include "store/database.h"

namespace autoglm::store {
namespace {

constexpr const char* kResponseTables = R"(
CREATE TABLE responses(
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  tenant TEXT NOT NULL,
  previous TEXT NOT NULL,
  input TEXT NOT NULL,
  response TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  created INTEGER NOT NULL
) STRICT;
)";
constexpr const char* kResponseMigrations[] = {kResponseTables};
// "OaRe" as four letters of ASCII.
const Database::Schema kResponseSchema{.application_id = 0x4F615265, .migrations = kResponseMigrations};

std::int64_t whole(std::size_t count) { return static_cast<std::int64_t>(count); }

class SqliteResponseStore final : public ResponseStore {
 public:
  SqliteResponseStore(std::unique_ptr<Database> database, const base::Clock& clock, const ResponseBounds& bounds)
      : database_(std::move(database)), clock_(clock), bounds_(bounds) {}

  Status put(const ResponseRow& row) override;
  Result<std::optional<ResponseRow>> find(std::string_view tenant, std::string_view id) override;
  Result<bool> remove(std::string_view tenant, std::string_view id) override;
  Result<std::size_t> count() override;

  /// What got too old while nobody was here.
  Status forget_old() {
    const base::MutexLock lock(mutex_);
    return remove_old();
  }

 private:
  // Within a transaction or alone, under mutex_.
  Status remove_old();
  Status remove_beyond();
  Result<std::int64_t> integer_of(std::string_view sql);

  base::Mutex mutex_;
  const std::unique_ptr<Database> database_;
  const base::Clock& clock_;
  const ResponseBounds bounds_;
};

Status SqliteResponseStore::put(const ResponseRow& row) {
  const std::size_t bytes = row.input.size() + row.response.size();
  if (bytes > bounds_.max_bytes) return fail(Code::kExhausted, "the response is too large to be stored");
  const base::MutexLock lock(mutex_);
  return database_->transaction([&]() -> Status {
    TRY(database_->run(
        "INSERT INTO responses(id, tenant, previous, input, response, bytes, created) VALUES(?, ?, ?, ?, ?, ?, ?)",
        {row.id, row.tenant, row.previous, row.input, row.response, whole(bytes), clock_.unix_seconds()}));
    TRY(remove_old());
    return remove_beyond();
  });
}

Status SqliteResponseStore::remove_old() {
  return database_->run("DELETE FROM responses WHERE created < ?", {clock_.unix_seconds() - bounds_.max_age.count()});
}

// Each statement removes one: beyond the bounds there are as many as the last put() made too many.
Status SqliteResponseStore::remove_beyond() {
  while (TRY(integer_of("SELECT count(*) FROM responses")) > whole(bounds_.max_count) ||
         TRY(integer_of("SELECT coalesce(sum(bytes), 0) FROM responses")) > whole(bounds_.max_bytes)) {
    TRY(database_->run("DELETE FROM responses WHERE number = (SELECT min(number) FROM responses)"));
  }
  return {};
}

Result<std::int64_t> SqliteResponseStore::integer_of(std::string_view sql) {
  Rows rows = TRY(database_->query(sql));
  return TRY(rows.next()) ? rows.integer(0) : 0;
}

Result<std::optional<ResponseRow>> SqliteResponseStore::find(std::string_view tenant, std::string_view id) {
  const base::MutexLock lock(mutex_);
  Rows rows =
      TRY(database_->query("SELECT id, tenant, previous, input, response FROM responses "
                           "WHERE id = ? AND tenant = ? AND created >= ?",
                           {id, tenant, clock_.unix_seconds() - bounds_.max_age.count()}));
  if (!TRY(rows.next())) return std::nullopt;
  return ResponseRow{.id = rows.text(0),
                     .tenant = rows.text(1),
                     .previous = rows.text(2),
                     .input = rows.text(3),
                     .response = rows.text(4)};
}

Result<bool> SqliteResponseStore::remove(std::string_view tenant, std::string_view id) {
  const base::MutexLock lock(mutex_);
  TRY(database_->run("DELETE FROM responses WHERE id = ? AND tenant = ?", {id, tenant}));
  return database_->changed_rows() > 0;
}

Result<std::size_t> SqliteResponseStore::count() {
  const base::MutexLock lock(mutex_);
  return static_cast<std::size_t>(TRY(integer_of("SELECT count(*) FROM responses")));
}

}  // namespace

// As a value it may take several times its bytes.
Result<json::Value> parse_stored(std::string_view text) {
  base::Budget budget({.bytes = 4 * text.size() + (1u << 20)});
  auto value = json::parse(text, budget);
  if (!value) return fail(Code::kCorrupt, "a stored response cannot be read: " + value.error().message);
  return value;
}

Result<std::unique_ptr<ResponseStore>> ResponseStore::open(const std::filesystem::path& file, const base::Clock& clock,
                                                           ResponseBounds bounds, std::chrono::milliseconds patience) {
  auto store =
      std::make_unique<SqliteResponseStore>(TRY(Database::open(file, kResponseSchema, patience)), clock, bounds);
  TRY(store->forget_old());
  return store;
}

}  // namespace autoglm::store

// SPDX-License-Identifier: Apache-2.0
// One connection to one SQLite file that this process alone owns while it is open: how the file is opened and checked,
// what SQLite's errors mean to us, prepared statements. Under the mutex of the store that holds it; never on two
// threads at once. See docs/decisions/0007-session-journal.md for why there is one connection.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace autoglm::store {

class Database;

// A value for a `?` of a statement; std::monostate is NULL. Texts are copied.
using SqlValue = std::variant<std::monostate, std::int64_t, double, std::string_view>;

// The rows of a prepared statement, lent by the Database; given back when it goes. Columns count from 0.
class Rows final {
 public:
  Rows(Rows&& other) noexcept;
  Rows(const Rows&) = delete;
  ~Rows();

  /// Steps to the next row; false after the last one.
  Result<bool> next();
  std::int64_t integer(int column) const;
  double real(int column) const;
  std::string text(int column) const;
  std::optional<std::string> optional_text(int column) const;

 private:
  friend class Database;
  Rows(Database& database, sqlite3_stmt* statement) : database_(&database), statement_(statement) {}
  Database* database_;
  sqlite3_stmt* statement_;
};

class Database final {
 public:
  // Whose file it is, and what stands in it: migration i takes a file from version i to i + 1. Written once, then
  // never changed; what changes is a new migration.
  struct Schema {
    std::int32_t application_id = 0;
    std::span<const char* const> migrations;
  };

  /// Opens or creates `file` (":memory:" keeps nothing), readable by its owner alone. Waits up to `patience` for
  /// another process to let go of it.
  ///   Errors   kUnavailable (in use for longer than that), kCorrupt (damaged, or not a file of ours), kInvalidArgument
  ///            (of a newer version, or not a regular file), kNotFound (no such folder), kPermissionDenied, kExhausted
  ///   Cost     reads the whole file once
  static Result<std::unique_ptr<Database>> open(const std::filesystem::path& file, const Schema& schema,
                                                std::chrono::milliseconds patience);
  ~Database();
  Database(const Database&) = delete;

  /// Prepares `sql` once and binds `values` to its question marks.
  Result<Rows> query(std::string_view sql, std::initializer_list<SqlValue> values = {});
  /// The same for a statement without rows.
  Status run(std::string_view sql, std::initializer_list<SqlValue> values = {});
  /// `work` as one transaction: durable when this returns well, and as if it had never been when it fails.
  Status transaction(const std::function<Status()>& work);

  std::int64_t last_id() const;       // of the last row that was inserted
  std::int64_t changed_rows() const;  // by the last statement

 private:
  friend class Rows;
  explicit Database(std::filesystem::path file) : file_(std::move(file)) {}
  Status connect(const Schema& schema);
  Status configure();
  Result<bool> is_new(const Schema& schema);
  Status migrate(const Schema& schema);
  Status check_tables(const Schema& schema);
  Status check_pages();
  Result<std::string> tables();
  Status execute(const char* sql);
  Result<std::int64_t> integer_of(const char* sql);
  Error error_of(int code);

  const std::filesystem::path file_;
  sqlite3* connection_ = nullptr;
  std::map<std::string, sqlite3_stmt*, std::less<>> statements_;
  std::optional<Error> broken_;  // what made the file untrustworthy: nothing more is read or written
  bool was_busy_ = false;
};

}  // namespace autoglm::store

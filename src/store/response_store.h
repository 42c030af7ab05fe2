// SPDX-License-Identifier: Apache-2.0
// The answers of the Responses API that their clients asked to be kept, in one SQLite file or in memory. What put() has
// written is on the disk when it returns. Bounded: the oldest go when there are too many, or too much of them, and each
// after 30 days. A tenant finds its own only. One connection, one mutex; any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"

namespace autoglm::store {

struct ResponseRow {
  std::string id;
  std::string tenant;
  std::string previous;  // the response that it goes on from; empty = none
  std::string input;     // JSON: the items that were new with it
  std::string response;  // JSON: the whole object
};

/// A row's input or response. Errors: kCorrupt (it is not what was put there).
Result<json::Value> parse_stored(std::string_view text);

struct ResponseBounds {
  std::size_t max_count = 10'000;
  std::size_t max_bytes = 256u << 20;  // of texts
  std::chrono::seconds max_age = std::chrono::days(30);
};

class ResponseStore {
 public:
  virtual ~ResponseStore() = default;

  /// Opens or creates the file, mode 0600; ":memory:" keeps nothing. Waits up to `patience` for a process that has it.
  ///   Errors   as SessionStore::open(); all later calls: kExhausted, kUnavailable (the disk fails), kCorrupt
  static Result<std::unique_ptr<ResponseStore>> open(const std::filesystem::path& file, const base::Clock& clock,
                                                     ResponseBounds bounds = {},
                                                     std::chrono::milliseconds patience = std::chrono::seconds(5));

  /// Then the oldest beyond the bounds are gone. Errors: kInvalidArgument (there is one of that id), kExhausted (alone
  /// larger than max_bytes).
  virtual Status put(const ResponseRow& row) = 0;
  virtual Result<std::optional<ResponseRow>> find(std::string_view tenant, std::string_view id) = 0;
  /// False when there is none.
  virtual Result<bool> remove(std::string_view tenant, std::string_view id) = 0;
  virtual Result<std::size_t> count() = 0;
};

}  // namespace autoglm::store

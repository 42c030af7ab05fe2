// SPDX-License-Identifier: Apache-2.0
// A disk in memory behind SQLite, for tests: it counts operations, fails any one of them, or loses power there and
// forgets what was not synced, as a real disk may: writes since the last sync are kept, lost or torn one by one. A
// killed process shows nothing of this, because the kernel keeps its writes. One thread.
#pragma once

#include <sqlite3.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/random.h"

namespace autoglm::store {

class MemoryDisk final {
 public:
  enum class Operation { kWrite, kSync, kTruncate, kDelete };

  // SQLite's default disk until this goes.
  MemoryDisk() {
    CHECK(!active_);
    active_ = this;
    real_ = sqlite3_vfs_find(nullptr);
    vfs_ = *real_;
    vfs_.iVersion = 2;
    vfs_.szOsFile = sizeof(Handle);
    vfs_.zName = "memory_disk";
    vfs_.xOpen = open;
    vfs_.xDelete = [](sqlite3_vfs*, const char* name, int) { return active_->remove(name); };
    vfs_.xAccess = [](sqlite3_vfs*, const char* name, int, int* found) {
      *found = active_->files_.contains(name);
      return SQLITE_OK;
    };
    sqlite3_vfs_register(&vfs_, 1);
  }
  ~MemoryDisk() {
    sqlite3_vfs_register(real_, 1);
    sqlite3_vfs_unregister(&vfs_);
    active_ = nullptr;
  }
  MemoryDisk(const MemoryDisk&) = delete;

  std::size_t operations() const { return operations_; }
  /// The `operation`th operation from the beginning (1..) has `code` as its result. After a failed sync the kernel
  /// believes its pages clean: what was unsynced is never written.
  void fail_at(std::size_t operation, int code) { fail_at_ = operation, fail_code_ = code; }
  /// From this operation on nothing reaches the disk any more.
  void cut_power_at(std::size_t operation) { power_until_ = operation; }
  void cut_power() { cut_power_at(operations_); }
  bool has_power() const { return operations_ < power_until_; }
  /// What a file holds now.
  std::string& contents(const std::string& name) { return files_[name].now; }
  /// The power is back: the disk holds what was synced, and of the rest what `seed` decides.
  void restart(std::uint64_t seed) {
    base::Random random(seed);
    for (auto& [name, file] : files_) file.settle(random);
    fail_at_ = power_until_ = static_cast<std::size_t>(-1);
  }

 private:
  struct Change {
    std::size_t offset = 0;
    std::string bytes;
    bool is_truncation = false;
  };

  struct File {
    std::string now;
    std::string durable;
    std::vector<Change> unsynced;

    static void apply(std::string& contents, const Change& change) {
      if (change.is_truncation) return contents.resize(change.offset);
      if (contents.size() < change.offset + change.bytes.size()) contents.resize(change.offset + change.bytes.size());
      std::memcpy(contents.data() + change.offset, change.bytes.data(), change.bytes.size());
    }
    void settle(base::Random& random) {
      for (Change& change : unsynced) {
        const std::uint64_t fate = random.below(4);
        if (fate == 0) continue;
        if (fate == 1 && !change.is_truncation) change.bytes.resize(random.below(change.bytes.size() / 512 + 1) * 512);
        apply(durable, change);
      }
      unsynced.clear();
      now = durable;
    }
  };

  struct Handle {
    sqlite3_file base;
    File* file;
  };

  static File& file_of(sqlite3_file* handle) { return *reinterpret_cast<Handle*>(handle)->file; }

  // Every operation that changes something passes here.
  int begin() {
    if (!has_power()) return SQLITE_IOERR;
    return ++operations_ == fail_at_ ? fail_code_ : SQLITE_OK;
  }

  int change(File& file, Change change) {
    if (const int code = begin()) return code;
    File::apply(file.now, change);
    file.unsynced.push_back(std::move(change));
    return SQLITE_OK;
  }

  int sync(File& file) {
    const int code = begin();
    if (code && !has_power()) return code;
    if (code == SQLITE_OK) {
      for (const Change& change : file.unsynced) File::apply(file.durable, change);
    }
    file.unsynced.clear();
    return code ? SQLITE_IOERR_FSYNC : SQLITE_OK;
  }

  int remove(const char* name) {
    if (const int code = begin()) return code;
    return files_.erase(name) ? SQLITE_OK : SQLITE_IOERR_DELETE_NOENT;
  }

  static int open(sqlite3_vfs*, const char* name, sqlite3_file* out, int flags, int* given) {
    static const sqlite3_io_methods methods = {
        .iVersion = 1,
        .xClose = [](sqlite3_file*) { return SQLITE_OK; },
        .xRead = read,
        .xWrite =
            [](sqlite3_file* handle, const void* bytes, int size, sqlite3_int64 offset) {
              return active_->change(file_of(handle),
                                     {static_cast<std::size_t>(offset),
                                      std::string(static_cast<const char*>(bytes), static_cast<std::size_t>(size))});
            },
        .xTruncate =
            [](sqlite3_file* handle, sqlite3_int64 size) {
              return active_->change(file_of(handle), {static_cast<std::size_t>(size), {}, true});
            },
        .xSync = [](sqlite3_file* handle, int) { return active_->sync(file_of(handle)); },
        .xFileSize =
            [](sqlite3_file* handle, sqlite3_int64* size) {
              *size = static_cast<sqlite3_int64>(file_of(handle).now.size());
              return SQLITE_OK;
            },
        .xLock = [](sqlite3_file*, int) { return SQLITE_OK; },
        .xUnlock = [](sqlite3_file*, int) { return SQLITE_OK; },
        .xCheckReservedLock =
            [](sqlite3_file*, int* reserved) {
              *reserved = 0;
              return SQLITE_OK;
            },
        .xFileControl = [](sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; },
        .xSectorSize = [](sqlite3_file*) { return 4096; },
        .xDeviceCharacteristics = [](sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; },
    };
    CHECK(name) << "no temporary files";
    auto* handle = reinterpret_cast<Handle*>(out);
    handle->base.pMethods = &methods;
    handle->file = &active_->files_[name];
    if (given) *given = flags;
    return SQLITE_OK;
  }

  static int read(sqlite3_file* handle, void* out, int size, sqlite3_int64 offset) {
    const std::string& contents = file_of(handle).now;
    const auto begin = std::min(static_cast<std::size_t>(offset), contents.size());
    const auto count = std::min(static_cast<std::size_t>(size), contents.size() - begin);
    std::memcpy(out, contents.data() + begin, count);
    std::memset(static_cast<char*>(out) + count, 0, static_cast<std::size_t>(size) - count);
    return count == static_cast<std::size_t>(size) ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
  }

  static inline MemoryDisk* active_ = nullptr;
  sqlite3_vfs vfs_{};
  sqlite3_vfs* real_ = nullptr;
  std::map<std::string, File, std::less<>> files_;  // their addresses stay
  std::size_t operations_ = 0;
  std::size_t fail_at_ = static_cast<std::size_t>(-1);
  std::size_t power_until_ = static_cast<std::size_t>(-1);
  int fail_code_ = SQLITE_OK;
};

}  // namespace autoglm::store

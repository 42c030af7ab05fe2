// SPDX-License-Identifier: Apache-2.0
// A folder that appears whole or not at all: written under a hidden name beside its place (.NAME.partial), flushed to
// the disk, renamed. What is not committed is removed, and so is what an earlier process that was killed left there.
// One thread; other processes are kept out by a lock on the hidden folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace autoglm::model {

// A file inside it, written at any place.
class OutputFile final {
 public:
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  /// Errors: kExhausted (disk full, quota, file size limit), kUnavailable (another failure of the disk).
  Status write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  Status write_at(std::uint64_t offset, std::string_view bytes);
  /// Flushes to the disk and closes. Errors: as above.
  Status finish();

 private:
  friend class OutputFolder;
  OutputFile(int fd, std::filesystem::path path) : fd_(fd), path_(std::move(path)) {}

  int fd_;
  std::filesystem::path path_;
};

class OutputFolder final {
 public:
  /// `path` must not exist, or be an empty folder; its parent must exist. (`where` of an Error about it: "output")
  ///   Errors   kInvalidArgument (something is there already), kNotFound (no parent), kPermissionDenied, kExhausted,
  ///            kUnavailable (another process writes there)
  static Result<OutputFolder> open(const std::filesystem::path& path);
  OutputFolder(OutputFolder&& other) noexcept;
  OutputFolder& operator=(OutputFolder&&) = delete;
  ~OutputFolder();

  /// A new, empty file in it. Errors: kExhausted, kPermissionDenied.
  Result<OutputFile> create(std::string_view name);
  /// Gives the folder its name, once all its files are finished. Errors: kInvalidArgument (something is there by now),
  /// kExhausted, kPermissionDenied.
  Status commit();

 private:
  OutputFolder(std::filesystem::path path, std::filesystem::path staging, int fd)
      : path_(std::move(path)), staging_(std::move(staging)), fd_(fd) {}

  std::filesystem::path path_;
  std::filesystem::path staging_;
  int fd_;  // of the staging folder; holds the lock
};

}  // namespace autoglm::model

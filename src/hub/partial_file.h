// SPDX-License-Identifier: Apache-2.0
// A file that grows by a download: appended to, hashed on the way, resumed after an interruption, and given its name
// only when its checksum holds. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"
#include "hub/checksum.h"

namespace autoglm::hub {

class PartialFile final {
 public:
  /// Opens or makes `path`.part, its folders too, and hashes what it holds.
  ///   Errors   kPermissionDenied, kExhausted (disk full)
  static Result<PartialFile> open(const std::filesystem::path& path);
  /// The sha256 of the file that an earlier finish() named; empty when there is none. One that has come to be another
  /// than `sha256` (empty = any) is removed.
  static Result<std::string> finished(const std::filesystem::path& path, std::string_view sha256);
  PartialFile(PartialFile&&) noexcept;
  PartialFile& operator=(PartialFile&&) = delete;
  ~PartialFile();

  std::uint64_t size() const { return size_; }
  /// Keeps the first `size` bytes.
  Status truncate(std::uint64_t size);
  /// Errors: kExhausted (disk full, file size limit).
  Status append(std::string_view bytes);
  /// Flushes to the disk, compares with `sha256` (empty = accepts any) and renames to `path`. Returns the sha256.
  ///   Errors   kCorrupt: another checksum; the bytes are then thrown away, so that the next try starts anew
  Result<std::string> finish(std::string_view sha256);

 private:
  PartialFile(std::filesystem::path path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::filesystem::path part_path() const { return path_.string() + ".part"; }
  Status rehash();

  std::filesystem::path path_;
  int fd_;
  std::uint64_t size_ = 0;
  Sha256 hash_;
};

}  // namespace autoglm::hub

// SPDX-License-Identifier: Apache-2.0
// A file mapped read-only, so that weights are read where the page cache holds them. Any thread. The file must not be
// cut short while it is mapped: reading a page that is gone ends the process.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "base/result.h"

namespace autoglm::model {

class MappedFile final {
 public:
  /// Errors: kNotFound, kPermissionDenied, kInvalidArgument (not a regular file), kCorrupt (empty), kExhausted.
  static Result<MappedFile> open(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

  /// Asks for the pages of `part` ahead of reading them.
  void ask_for(std::span<const std::byte> part) const;
  /// Lets the whole pages inside `part` leave this process's memory; reading them again maps them again.
  void let_go(std::span<const std::byte> part) const;

 private:
  MappedFile(const std::byte* data, std::size_t size, std::string path)
      : data_(data), size_(size), path_(std::move(path)) {}

  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::string path_;
};

}  // namespace autoglm::model

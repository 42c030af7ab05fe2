// SPDX-License-Identifier: Apache-2.0
#include "hub/partial_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace autoglm::hub {
namespace {

std::unexpected<Error> file_error(std::string_view what, const std::filesystem::path& path, int error) {
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    return fail(Code::kExhausted,
                fmt::format("the disk is full: {} {}: {}. Make room and run it again; it goes on from here", what,
                            path.string(), std::strerror(error)));
  }
  return fail(Code::kPermissionDenied, fmt::format("{} {}: {}", what, path.string(), std::strerror(error)));
}

}  // namespace

Result<PartialFile> PartialFile::open(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (error) return file_error("cannot create", path.parent_path(), error.value());
  PartialFile file(
      path, ::open((path.string() + ".part").c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (file.fd_ < 0) return file_error("cannot open", file.part_path(), errno);
  struct stat facts{};
  if (fstat(file.fd_, &facts) != 0) return file_error("cannot open", file.part_path(), errno);
  file.size_ = static_cast<std::uint64_t>(facts.st_size);
  TRY(file.rehash());
  return file;
}

Result<std::string> PartialFile::finished(const std::filesystem::path& path, std::string_view sha256) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::string();
  std::string got = TRY(hash_file(path)).finish();
  if (sha256.empty() || got == sha256) return got;
  if (!std::filesystem::remove(path, error)) return file_error("cannot remove", path, error.value());
  return std::string();
}

PartialFile::PartialFile(PartialFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(other.size_),
      hash_(std::move(other.hash_)) {}

PartialFile::~PartialFile() {
  if (fd_ >= 0) close(fd_);
}

Status PartialFile::rehash() {
  hash_ = size_ == 0 ? Sha256() : TRY(hash_file(part_path()));
  return {};
}

Status PartialFile::truncate(std::uint64_t size) {
  if (size == size_) return {};
  if (ftruncate(fd_, static_cast<off_t>(size)) != 0) return file_error("cannot cut", part_path(), errno);
  size_ = size;
  return rehash();
}

Status PartialFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return file_error("cannot write", part_path(), errno);
    const auto count = static_cast<std::size_t>(written);
    hash_.update(bytes.substr(0, count));
    size_ += count;
    bytes.remove_prefix(count);
  }
  return {};
}

Result<std::string> PartialFile::finish(std::string_view sha256) {
  std::string got = hash_.finish();
  if (!sha256.empty() && got != sha256) {
    std::error_code ignored;
    std::filesystem::remove(part_path(), ignored);
    return fail(Code::kCorrupt,
                fmt::format("{} came with a wrong checksum: sha256 {} was expected, {} came; it was thrown away",
                            path_.filename().string(), sha256, got));
  }
  if (fsync(fd_) != 0) return file_error("cannot flush", part_path(), errno);
  std::error_code error;
  std::filesystem::rename(part_path(), path_, error);
  if (error) return file_error("cannot rename", part_path(), error.value());
  return got;
}

}  // namespace autoglm::hub

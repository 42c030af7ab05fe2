// SPDX-License-Identifier: Apache-2.0
#include "model/output_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace autoglm::model {
namespace {

namespace fs = std::filesystem;

std::unexpected<Error> disk_error(const std::string& what, const fs::path& path, int error) {
  const std::string sentence = what + " " + path.string() + ": " + std::strerror(error);
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    return fail(Code::kExhausted, "the disk is full: " + sentence + ". Make room and run it again");
  }
  if (error == ENOENT) return fail(Code::kNotFound, sentence);
  return fail(error == EACCES || error == EPERM || error == EROFS ? Code::kPermissionDenied : Code::kUnavailable,
              sentence);
}

// Makes a rename in `folder` survive a power cut.
void sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

Status check_free(const fs::path& path) {
  std::error_code error;
  const auto status = fs::symlink_status(path, error);
  if (status.type() == fs::file_type::not_found) return {};
  if (error) return disk_error("cannot look at", path, error.value());
  if (!fs::is_directory(status))
    return fail(Code::kInvalidArgument, path.string() + " is there and is not a folder", "output");
  if (fs::is_empty(path, error) && !error) return {};
  return fail(Code::kInvalidArgument,
              path.string() + " is there already and is not empty: name another folder, or remove this one", "output");
}

// Whether `fd` is what the name means now: a run that has just ended renames or removes the folder that it locked.
bool is_still(int fd, const fs::path& path) {
  struct stat ours{}, there{};
  return ::fstat(fd, &ours) == 0 && ::lstat(path.c_str(), &there) == 0 && ours.st_ino == there.st_ino &&
         ours.st_dev == there.st_dev;
}

}  // namespace

OutputFile::OutputFile(OutputFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
}

Status OutputFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return disk_error("cannot write", path_, errno);
    offset += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Status OutputFile::write_at(std::uint64_t offset, std::string_view bytes) {
  return write_at(offset, std::as_bytes(std::span(bytes)));
}

Status OutputFile::finish() {
  if (::fsync(fd_) != 0) return disk_error("cannot flush", path_, errno);
  if (::close(std::exchange(fd_, -1)) != 0) return disk_error("cannot close", path_, errno);
  return {};
}

Result<OutputFolder> OutputFolder::open(const fs::path& where) {
  std::error_code error;
  fs::path path = fs::absolute(where, error).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // "folder/"
  TRY(check_free(path));
  const fs::path staging = path.parent_path() / ("." + path.filename().string() + ".partial");
  if (::mkdir(staging.c_str(), 0777) != 0 && errno != EEXIST) return disk_error("cannot create", staging, errno);
  const int fd = ::open(staging.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return disk_error("cannot open", staging, errno);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0 || !is_still(fd, staging)) {
    ::close(fd);
    return fail(Code::kUnavailable, "another process is writing " + path.string() + "; wait until it has ended");
  }
  OutputFolder folder(std::move(path), staging, fd);
  for (fs::directory_iterator entry(staging, error), end; !error && entry != end; entry.increment(error)) {
    fs::remove_all(entry->path(), error);
    if (error) break;
  }
  if (error) return disk_error("cannot empty", staging, error.value());
  return folder;
}

OutputFolder::OutputFolder(OutputFolder&& other) noexcept
    : path_(std::move(other.path_)), staging_(std::move(other.staging_)), fd_(std::exchange(other.fd_, -1)) {}

OutputFolder::~OutputFolder() {
  if (fd_ < 0) return;
  std::error_code ignored;
  if (!staging_.empty()) fs::remove_all(staging_, ignored);  // before the lock is given back
  ::close(fd_);
}

Result<OutputFile> OutputFolder::create(std::string_view name) {
  const fs::path path = staging_ / name;
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) return disk_error("cannot create", path, errno);
  return OutputFile(fd, path);
}

Status OutputFolder::commit() {
  if (::fsync(fd_) != 0) return disk_error("cannot flush", staging_, errno);
  if (::rename(staging_.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    TRY(check_free(path_));
    return disk_error("cannot rename", staging_, error);
  }
  staging_.clear();
  sync_folder(path_.parent_path());
  return {};
}

}  // namespace autoglm::model

// SPDX-License-Identifier: Apache-2.0
// Where models live on disk. Under the home (OPENAUTOGLM_HOME, else XDG_DATA_HOME/openautoglm, else
// ~/.local/share/openautoglm):
//   models/NAME/      a complete model and its manifest.json; appears and disappears by one rename
//   partial/NAME/     what a pull has so far
//   partial/NAME.lock held while a pull or rm works on NAME
// Any thread; other processes are kept out by the lock.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace autoglm::hub {

struct StoredFile {
  std::string path;
  std::uint64_t bytes = 0;
  std::string sha256;
};

struct StoredModel {
  std::string name;
  std::string licence;
  std::string source;  // where it came from, for people
  std::string load;    // inside the folder; "." = the folder itself
  std::vector<StoredFile> files;
  std::filesystem::path folder;  // filled in when found

  std::filesystem::path load_path() const { return load == "." ? folder : folder / load; }
  std::uint64_t bytes() const;
};

// Held = nobody else works on that name. Released with the object or the process.
class FolderLock final {
 public:
  explicit FolderLock(int fd) : fd_(fd) {}
  ~FolderLock();
  FolderLock(FolderLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  FolderLock& operator=(FolderLock&&) = delete;

 private:
  int fd_;
};

class ModelFolder final {
 public:
  /// From the environment. Errors: kInvalidArgument (neither variable is set and there is no HOME).
  static Result<ModelFolder> from_environment();
  explicit ModelFolder(std::filesystem::path home) : home_(std::move(home)) {}

  const std::filesystem::path& home() const { return home_; }
  /// A complete model, by its folder's name. A broken manifest is kCorrupt.
  Result<std::optional<StoredModel>> find(std::string_view name) const;
  /// All complete models by name; folders with a broken manifest are left out.
  std::vector<StoredModel> list() const;
  /// Errors: kUnavailable (another process works on it), kPermissionDenied.
  Result<FolderLock> lock(std::string_view name) const;
  std::filesystem::path staging(std::string_view name) const { return home_ / "partial" / name; }
  /// Writes the manifest and renames `staged` to models/NAME, then removes what else was staged. Hold the lock.
  Result<StoredModel> commit(StoredModel model, const std::filesystem::path& staged) const;
  /// Removes the model and what a pull of it left. False when there was nothing. Hold the lock.
  Result<bool> remove(std::string_view name) const;
  /// Bytes that this user may still write below home.
  Result<std::uint64_t> free_bytes() const;

 private:
  std::filesystem::path home_;
};

}  // namespace autoglm::hub

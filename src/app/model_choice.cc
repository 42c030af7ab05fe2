// SPDX-License-Identifier: Apache-2.0
#include "app/model_choice.h"

#include <fmt/format.h>
#include <unistd.h>

#include <system_error>

#include "app/interrupt.h"
#include "app/terminal.h"
#include "base/log.h"
#include "hub/catalogue.h"
#include "hub/model_name.h"
#include "hub/pull.h"

namespace autoglm::app {
namespace {

namespace fs = std::filesystem;

ModelChoice checkpoint_at(const fs::path& path) {
  std::error_code error;
  const fs::path full = fs::absolute(path, error).lexically_normal();
  const bool is_file = full.extension() == ".gguf";
  fs::path last = is_file ? full.stem() : full.filename();
  if (last.empty()) last = full.parent_path().filename();  // "folder/"
  return {.kind = ModelKind::kCheckpoint, .path = full, .name = last.string()};
}

// Served under the name that the user typed, an alias too: that is what the user's clients will ask for.
ModelChoice stored(const hub::StoredModel& model, std::string_view reference) {
  const bool is_name = !reference.starts_with("hf:");
  return {
      .kind = ModelKind::kCheckpoint, .path = model.load_path(), .name = is_name ? std::string(reference) : model.name};
}

}  // namespace

Result<hub::StoredModel> pull_with_progress(const hub::ModelFolder& folder, std::string_view reference) {
  const hub::Catalogue catalogue = TRY(hub::Catalogue::load(folder.home()));
  Interrupts interrupts;
  ProgressLine line(is_terminal(STDERR_FILENO));
  hub::PullOptions options;
  options.on_progress = [&](const hub::PullProgress& progress) {
    line.show(progress.done_bytes, progress.total_bytes);
  };
  options.on_note = [&](std::string_view text) { line.note(text); };
  options.is_cancelled = [] { return Interrupts::count() > 0; };
  auto model = hub::pull(folder, catalogue, reference, options);
  line.end();
  if (!model && model.error().code == Code::kCancelled) {
    return fail(Code::kCancelled, fmt::format("stopped; what has come is kept: `openautoglm pull {}` goes on from here",
                                              base::printable(reference)));
  }
  return model;
}

Result<ModelChoice> choose_model(std::string_view reference, bool may_pull) {
  if (reference.empty())
    return fail(Code::kInvalidArgument, "which model? Give a name or a path; `openautoglm list --all` shows names",
                "MODEL");
  if (reference.starts_with("scripted:")) {
    const fs::path script(reference.substr(9));
    if (script.empty()) return fail(Code::kInvalidArgument, "scripted: needs a file behind it", "MODEL");
    return ModelChoice{.kind = ModelKind::kScript, .path = script, .name = "scripted"};
  }
  const hub::ModelFolder folder = TRY(hub::ModelFolder::from_environment());
  const hub::Catalogue catalogue = TRY(hub::Catalogue::load(folder.home()));
  const bool is_hub = reference.starts_with("hf:");
  const bool is_known = is_hub || catalogue.find(reference) != nullptr || TRY(folder.find(reference)).has_value();
  std::error_code error;
  if (!is_known) {
    if (fs::exists(reference, error)) return checkpoint_at(reference);
    if (reference.find('/') != std::string_view::npos || reference.ends_with(".gguf")) {
      return fail(Code::kNotFound, fmt::format("there is no file or folder {}", base::printable(reference)), {});
    }
  }
  if (auto there = TRY(folder.find(reference))) return stored(*there, reference);
  const std::string name = TRY(hub::stored_name(catalogue, reference));
  if (auto there = TRY(folder.find(name))) return stored(*there, reference);
  const auto* entry = catalogue.find(name);
  const std::string size = entry == nullptr ? "" : fmt::format(" ({})", format_bytes(entry->sources.front().bytes()));
  if (!may_pull && !ask(fmt::format("{}{} is not here yet. Pull it?", name, size))) {
    return fail(Code::kNotFound, fmt::format("{} is not here yet; `openautoglm pull {}` brings it{}, or add --yes",
                                             name, base::printable(reference), size));
  }
  return stored(TRY(pull_with_progress(folder, reference)), reference);
}

}  // namespace autoglm::app

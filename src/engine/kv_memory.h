// SPDX-License-Identifier: Apache-2.0
// How much memory is left to this process, from the files of the kernel. Behind default_kv_bytes(); apart so that it
// can be tested on made-up files. Any thread.
#pragma once

#include <cstddef>
#include <filesystem>

namespace autoglm::engine {

/// MemAvailable, less where a control group (v2 or v1) or one of its parents leaves less. What a group holds of files
/// that nobody uses (inactive_file) counts as free, as it does in MemAvailable. `root` is "/" but in tests.
std::size_t available_bytes(const std::filesystem::path& root);

}  // namespace autoglm::engine

// SPDX-License-Identifier: Apache-2.0
// What happened in a stretch of a conversation, a line for each task, action and answer: stands for old turns where the
// model writes no summary of them. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace autoglm::agent {

/// `text` in one line of at most `max_bytes`, cut between characters.
std::string one_line(std::string_view text, std::size_t max_bytes);

/// The lines of `earlier` (a digest or a summary of what came before) and of `messages`.
std::string digest_of(std::string_view earlier, const std::vector<const json::Object*>& messages);

/// The last lines of `digest` that have at most `max_bytes` together, after a word that some are left out.
std::string last_lines(std::string_view digest, std::size_t max_bytes);

}  // namespace autoglm::agent

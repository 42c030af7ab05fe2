// SPDX-License-Identifier: Apache-2.0
// The built-in tools on a session's memory: read_result shows more of an earlier result, remember and recall keep and
// find notes. Any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "agent/tool.h"
#include "store/session_store.h"

namespace autoglm::agent {

/// The three tools; `store` must outlive them. read_result shows at most `max_bytes` at a time.
std::vector<std::unique_ptr<Tool>> memory_tools(store::SessionStore& store, const std::string& session,
                                                std::size_t max_bytes);

}  // namespace autoglm::agent

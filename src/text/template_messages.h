// SPDX-License-Identifier: Apache-2.0
// Conversations as the templates of some tool formats read them, where that is not how clients write them: calls,
// results and tools go by other names there. Pure functions; any thread.
#pragma once

#include <optional>
#include <string_view>

#include "base/json.h"
#include "text/tool_format.h"

namespace autoglm::text {

/// The messages ({"role", "content", "tool_calls", "tool_call_id"}, as generation::ChatPrompt has them) for a template
/// of that format; nothing when it reads them as they are.
///   Source   the chat templates of GLM-4-0414, glm-4-9b-chat, Mistral-Nemo-2407, Mistral-Small-3.2 and
///            Phi-4-mini-instruct
std::optional<json::Array> template_messages(ToolFormat format, std::string_view template_source,
                                             const json::Array& messages, const json::Array& tools);

}  // namespace autoglm::text

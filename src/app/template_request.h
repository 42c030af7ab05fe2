// SPDX-License-Identifier: Apache-2.0
// What a chat template sees of a chat request, for `inspect prompt`: messages, tools and fields of the template, as
// they stand in the request. The server takes less and does more (`--as-served`): it writes each tool anew (name,
// description, parameters), leaves them out under "tool_choice": "none", and tells of them in words where the template
// shows none. Any thread.
#pragma once

#include <optional>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace autoglm::app {

struct TemplateRequest {
  json::Array messages;              // content as a string, developer as system, call arguments as objects
  std::optional<json::Array> tools;  // as in the request
  json::Object kwargs;               // chat_template_kwargs
  bool add_generation_prompt = true;
};

/// Reads the body of a chat request; parameters that do not change the prompt are passed over.
/// Errors: kInvalidArgument (not JSON, no messages, a part that is not text), where = the field.
Result<TemplateRequest> read_template_request(std::string_view body);

}  // namespace autoglm::app

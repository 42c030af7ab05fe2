// SPDX-License-Identifier: Apache-2.0
// What a chat template sees of a chat request, for `inspect prompt`: messages, tools and fields of the template. Wider
// than what the server takes: tools and their calls are rendered here although they cannot be called yet. Any thread.
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

// SPDX-License-Identifier: Apache-2.0
// The part of a chat request that is about tools: what may be called, and the calls and results in its messages. Any
// thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "protocol/field_reader.h"
#include "text/tool_format.h"

namespace autoglm::protocol {

enum class ToolUse : std::uint8_t {
  kNone,      // no tools, or tool_choice none
  kAuto,      // the model may call
  kRequired,  // it must; with one callable tool when the request named it
};

struct ToolRequest {
  ToolUse use = ToolUse::kNone;
  bool is_parallel = true;                    // more than one call in an answer
  json::Array tools;                          // for the chat template; empty with kNone
  std::vector<text::ToolSignature> callable;  // those that may be called
  std::vector<std::size_t> places;            // of each callable one in the request's `tools`
};

// A function that a client offers.
struct FunctionTool {
  text::ToolSignature signature;
  json::Object for_template;  // {"type":"function","function":{...}}
};

/// [A-Za-z0-9_-]{1,64}: what every client, template and server agrees on.
bool is_tool_name(std::string_view name);

/// `name`, `description`, `parameters` and `strict` of a function; what else it has is the caller's to refuse.
Result<FunctionTool> read_function(FieldReader& function);

/// `tools`, `tool_choice`, `parallel_tool_calls`; `functions` and `function_call` (deprecated by OpenAI) are refused
/// unless empty. Errors: kInvalidArgument with the field's name.
Result<ToolRequest> read_tools(FieldReader& reader);

/// A call's arguments as they stand in its message or item. Errors: kInvalidArgument (no JSON object).
Result<json::Object> parse_arguments(std::string_view text);

/// Arguments as templates want them: an object; the text itself when it is none (a model wrote them, or they were cut:
/// the history of a conversation can no longer be changed); {} when it is empty.
json::Value arguments_for_template(std::string_view text);

/// `tool_calls` of an assistant's message with their arguments_for_template(). Nothing when absent or empty.
Result<std::optional<json::Array>> read_tool_calls(FieldReader& message);

}  // namespace autoglm::protocol

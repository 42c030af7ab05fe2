// SPDX-License-Identifier: Apache-2.0
// The tools of a request to the Responses API: functions, which its client runs, and servers of the Model Context
// Protocol, which we call. A server is named by the label that the operator gave it, never by an address. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "protocol/field_reader.h"
#include "protocol/openai_tools.h"

namespace autoglm::protocol {

// Whether a client wants to be asked before a tool is called.
enum class ApprovalRule : std::uint8_t { kDefault, kNever, kAlways };  // kDefault: what the operator configured

struct ServerTool {
  std::string label;
  std::optional<std::vector<std::string>> allowed;  // by the server's own names; absent = all
  ApprovalRule approval = ApprovalRule::kDefault;   // of tools that neither list names
  std::vector<std::string> never;
  std::vector<std::string> always;
  std::size_t place = 0;  // in the request's `tools`
};

struct ResponseTools {
  std::vector<FunctionTool> functions;
  std::vector<std::size_t> places;  // of each function
  std::vector<ServerTool> servers;
  ToolUse use = ToolUse::kNone;  // what tool_choice says; kNone without tools
  std::string chosen_name;       // with kRequired: only this function or tool, or
  std::string chosen_server;     // only tools of this server
  bool is_parallel = true;
  json::Array shown;         // `tools` as the answer repeats them
  json::Value shown_choice;  // `tool_choice` likewise
};

/// Errors: kInvalidArgument with the field's name; other kinds of tools and a client's own addresses are named.
Result<ResponseTools> read_response_tools(FieldReader& reader);

}  // namespace autoglm::protocol

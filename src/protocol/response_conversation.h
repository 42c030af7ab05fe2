// SPDX-License-Identifier: Apache-2.0
// From the items of a conversation to the messages that a chat template takes: calls are put together into turns, and
// each result after the calls of its turn. The same items always give the same messages, so that a prompt's prefix
// stays reusable. Pure functions; any thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace autoglm::protocol {

/// The name by which the model knows a tool of a server.
using NameOfTool = std::function<std::string(std::string_view server_label, std::string_view name)>;

// A call that its client gave leave for, and that has not been run yet.
struct ApprovedCall {
  std::string request;  // the id of the question
  std::string server_label;
  std::string name;
  std::string arguments;  // JSON text
};

struct Conversation {
  json::Array messages;  // with the calls in `approved` as calls that were not run
  std::vector<ApprovedCall> approved;
  std::vector<std::string> listed;  // labels of the servers whose tools were told
};

/// Errors: kInvalidArgument with "input" in Error::where: a result without its call, a call without its result, an
/// answer to a question that was not asked.
Result<Conversation> read_conversation(const json::Array& items, const NameOfTool& name_of);

}  // namespace autoglm::protocol

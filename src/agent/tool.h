// SPDX-License-Identifier: Apache-2.0
// What an action calls: a function of this program, a process, an HTTP endpoint or a tool of an MCP server, behind one
// interface. Plain values and one virtual call; the rules of when and whether it may run are the action scheduler's.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace autoglm::agent {

// What running it may change. Reads of one turn run side by side; a write or an external call waits for all calls
// before it and is waited for by all after it, so that a turn comes out as if its calls had run one by one.
enum class ToolClass : std::uint8_t { kRead, kWrite, kExternal };

// Whether somebody is asked first. The default follows from the class: reads run, the others ask.
enum class Approval : std::uint8_t {
  kNever,
  kAsk,     // a person, unless the run was approved beforehand (--approve)
  kAlways,  // a person, each time, whatever was approved beforehand
};

// Their names in configurations and for people: "read", "write", "external"; "never", "ask", "always".
std::string_view class_name(ToolClass tool_class);
std::optional<ToolClass> parse_class(std::string_view name);
std::string_view approval_name(Approval approval);
std::optional<Approval> parse_approval(std::string_view name);
constexpr Approval default_approval(ToolClass tool_class) {
  return tool_class == ToolClass::kRead ? Approval::kNever : Approval::kAsk;
}

struct ToolDescription {
  std::string name;         // as the model calls it: [A-Za-z0-9_-]{1,64}
  std::string description;  // for the model
  json::Object parameters;  // JSON schema (draft 2020-12) of an object
  std::string source;       // where it comes from, for people: "built in", "process", "http", "mcp:files"
  std::string source_name;  // its name there, when it has another one: that of an MCP server's own tool
  ToolClass tool_class = ToolClass::kExternal;
  Approval approval = Approval::kAsk;
  std::chrono::milliseconds timeout{30'000};
  std::size_t retries = 0;          // of a read that was kUnavailable; never of what may have had an effect
  std::size_t max_concurrency = 4;  // runs of this tool at one time, of all that share its registry
  bool is_idempotent = false;       // the same call twice, with nothing between, changes nothing more
  bool is_sandboxed = true;         // false: a program with the user's rights, which the summary of a run shows
  // Not in the list that a model is shown: a result tells of it where it is of use, and from then on it may be called.
  bool is_quiet = false;
};

// What a tool says. Any bytes: the scheduler makes UTF-8 of them and clips them before a model reads them.
struct ToolOutput {
  std::string text;
  bool is_error = false;  // the tool ran and reports a failure
};

class Tool {
 public:
  virtual ~Tool() = default;
  virtual const ToolDescription& description() const = 0;
  /// Runs on a background thread and blocks it. `arguments` satisfy the schema. Returns soon after `stop` was
  /// requested.
  ///   Errors   kUnavailable (could not be reached or started), kCancelled (stopped), kExhausted (output beyond its
  ///            bound), kCorrupt (the answer is not what its protocol asks for), kPermissionDenied, kInternal
  virtual Result<ToolOutput> run(const json::Object& arguments, std::stop_token stop) = 0;
};

}  // namespace autoglm::agent

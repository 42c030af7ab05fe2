// SPDX-License-Identifier: Apache-2.0
#include "agent/approval.h"

#include <utility>

namespace autoglm::agent {

std::optional<Leave> parse_leave(std::string_view name) {
  if (name == "none") return Leave::kNone;
  if (name == "writes") return Leave::kWrites;
  if (name == "all") return Leave::kAll;
  return std::nullopt;
}

Approver make_approver(Leave leave, Approver person) {
  return [leave, person = std::move(person)](const Action& action, const json::Object& arguments,
                                             const ToolDescription& tool, const std::stop_token& stop) -> Decision {
    const bool is_covered = leave == Leave::kAll || (leave == Leave::kWrites && tool.tool_class == ToolClass::kWrite);
    if (is_covered && tool.approval != Approval::kAlways) return {Verdict::kAllow, ""};
    if (person) return person(action, arguments, tool, stop);
    if (tool.approval == Approval::kAlways) {
      return {Verdict::kDeny, "this tool is asked for each time, and there is nobody to be asked"};
    }
    const std::string_view needed = tool.tool_class == ToolClass::kWrite ? "--approve writes" : "--approve all";
    return {Verdict::kDeny, "there is nobody to be asked (" + std::string(needed) + " would allow it)"};
  };
}

}  // namespace autoglm::agent

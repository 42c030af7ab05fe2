// SPDX-License-Identifier: Apache-2.0
// A tool that is a program: its arguments as JSON on stdin, its result on stdout; an exit status other than 0 is an
// error, told with the end of stderr. The command line is fixed by the configuration, without a shell: nothing that a
// model writes ever becomes part of it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/tool.h"
#include "agent/tools/sandbox.h"

namespace autoglm::agent {

struct ProcessToolConfig {
  ToolDescription description;
  std::vector<std::string> command;
  std::vector<std::pair<std::string, std::string>> environment;  // all that it gets, besides PATH, HOME and LANG
  SandboxOptions sandbox;
  ProcessLimits limits;
  std::size_t max_output_bytes = 8u << 20;
};

/// Errors: as sandboxed().
Result<std::unique_ptr<Tool>> make_process_tool(ProcessToolConfig config);

/// "NAME=VALUE" for a program: what is given, over PATH, HOME and LANG as a sandbox has them.
std::vector<std::string> environment_of(const std::vector<std::pair<std::string, std::string>>& given);

/// Does the sandbox work on this machine? Errors: kPermissionDenied with what bubblewrap says.
Status check_sandbox();

}  // namespace autoglm::agent

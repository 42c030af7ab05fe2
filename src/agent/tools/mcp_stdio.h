// SPDX-License-Identifier: Apache-2.0
// MCP over the standard streams of a program that we start: one message a line. One thread of its own owns the program
// and its pipes; callers only put lines into its outbox and wait for answers.
#pragma once

#include "agent/tools/child.h"
#include "agent/tools/mcp_transport.h"

namespace autoglm::agent {

/// Starts the program. Errors: as Child::start().
Result<std::unique_ptr<McpTransport>> connect_mcp_stdio(ChildOptions options, McpListener listener);

}  // namespace autoglm::agent

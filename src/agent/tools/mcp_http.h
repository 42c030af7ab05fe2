// SPDX-License-Identifier: Apache-2.0
// MCP over streamable HTTP: each message is a POST, its answer JSON or a stream of events, which is taken up again
// where it was cut. The caller's thread does all of it; calls run side by side.
#pragma once

#include <string>

#include "agent/tools/mcp_transport.h"
#include "net/http_client.h"

namespace autoglm::agent {

struct McpHttpOptions {
  std::string url;
  net::HttpFields fields;  // secrets too; redirects are not followed
  std::string ca_file;     // PEM bundle to trust; empty = the system's
};

/// Errors: kInvalidArgument (URL). Nothing is sent yet.
Result<std::unique_ptr<McpTransport>> connect_mcp_http(McpHttpOptions options, McpListener listener);

}  // namespace autoglm::agent

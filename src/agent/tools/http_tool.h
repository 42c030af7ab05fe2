// SPDX-License-Identifier: Apache-2.0
// A tool that is an HTTP endpoint. Where it may go is fixed by the configuration: hosts by name, and only to addresses
// of the public internet unless an address is listed; each redirect is checked like the first request, and what was
// checked is what is connected to.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "agent/tool.h"
#include "agent/tools/url_template.h"
#include "net/address.h"
#include "net/http_client.h"

namespace autoglm::agent {

struct HttpToolConfig {
  ToolDescription description;
  std::string method = "GET";
  UrlTemplate url;
  net::HttpFields fields;                            // secrets too; only the template's own host gets them
  std::vector<std::string> hosts;                    // besides the template's: "api.example.com", "*.example.com"
  std::vector<net::AddressRange> private_addresses;  // that may be reached although they are not public
  std::size_t max_response_bytes = 4u << 20;
  std::string ca_file;   // PEM bundle to trust; empty = the system's
  net::Resolve resolve;  // what the names of hosts stand for; empty = the system
};

std::unique_ptr<Tool> make_http_tool(HttpToolConfig config);

/// Is `address` one that a request may reach? Errors: kPermissionDenied.
Status admit_address(const net::IpAddress& address, const std::vector<net::AddressRange>& private_addresses);

/// Does a list like HttpToolConfig::hosts name `host`?
bool is_listed(std::string_view host, const std::vector<std::string>& hosts);

}  // namespace autoglm::agent

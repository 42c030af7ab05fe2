// SPDX-License-Identifier: Apache-2.0
// http and https URLs as the client needs them (RFC 3986, without user information and fragments). Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace autoglm::net {

struct Url {
  bool is_tls = false;
  std::string host;  // a name, an IPv4 address, or an IPv6 address without its brackets
  std::uint16_t port = 0;
  std::string target;  // path and query, starts with '/'
};

/// Errors: kInvalidArgument (another scheme, user information, control bytes, an impossible port, more than 8 KiB).
Result<Url> parse_url(std::string_view text);

/// Where a Location header leads from `base`: an absolute URL, "//host/path", "/path" or a relative path.
Result<Url> resolve_location(const Url& base, std::string_view location);

/// "https://host:port/path"; the port is left out where it is the scheme's own.
std::string format_url(const Url& url);
/// "host:port" for the Host header, the port left out likewise, IPv6 in brackets.
std::string authority(const Url& url);

/// Percent-encodes all but unreserved characters and '/'.
std::string encode_path(std::string_view path);

}  // namespace autoglm::net
